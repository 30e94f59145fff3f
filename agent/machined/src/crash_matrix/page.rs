//! `docs/crash-matrix.md`, from the rows.

use std::fmt::Write;
use std::path::Path;

use super::rows;

/// One effect.
pub(super) struct Row {
    pub(super) object: &'static str,
    pub(super) cells: [Cell; 6],
    pub(super) tests: Vec<Test>,
}

impl Row {
    pub(super) fn new(object: &'static str, cells: [Cell; 6], tests: &[Test]) -> Self {
        Self {
            object,
            cells,
            tests: tests.to_vec(),
        }
    }
}

/// One moment at which it ends.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    /// The row's tests have ended it there.
    Green,
    /// It holds for this reason.
    Rule(&'static Why),
}

/// Why a moment needs no trial of its own.
pub(super) struct Why {
    word: &'static str,
    text: &'static str,
    tests: &'static [Test],
}

/// Where a test is: its file, and its function there.
#[derive(Clone, Copy)]
pub(super) struct Test {
    file: &'static str,
    name: &'static str,
}

const fn test(file: &'static str, name: &'static str) -> Test {
    Test { file, name }
}

const KILLS: Test = test(
    "qemu-tests/tests/netns_kills.rs",
    "joins_survive_kills_and_power_cuts",
);
const THREE: Test = test(
    "agent/machined/src/node/etcd/cluster/real.rs",
    "three_members_come_together_under_kills_and_a_wiped_one_comes_back",
);

pub(super) const ONE_STEP: &Why = &Why {
    word: "one step",
    text: "It is one call of the kernel or one request that changes something: it is done or it is not, \
           and the two are the cells beside this one.",
    tests: &[],
};

pub(super) const API: &Why = &Why {
    word: "the API",
    text: "What the API server has acknowledged is in etcd's log, which etcd syncs before it answers; this \
           machine keeps nothing of it, and the next look asks the API. So a power cut here is the agent's \
           end and no more; with the only member of etcd here, what was acknowledged is there after it.",
    tests: &[KILLS],
};

pub(super) const CLUSTER: &Why = &Why {
    word: "the members",
    text: "A change of members is one entry of etcd's log, synced by a quorum before it is acknowledged; this \
           machine keeps nothing of it, and the next look asks a member with a vote. So a power cut here is \
           the agent's end and no more.",
    tests: &[KILLS, THREE],
};

pub(super) const TURN: &Why = &Why {
    word: "the key",
    text: "The turn is one key of etcd, and one transaction that changes it only where it is as it was seen, \
           synced by a quorum before it is acknowledged; this machine keeps nothing of it, and the next look \
           reads it by the quorum's word. So a power cut here is the agent's end and no more, and a request that \
           arrives late changes nothing that was taken since.",
    tests: &[],
};

pub(super) const NOBODY: &Why = &Why {
    word: "no rule",
    text: "No stage plans it today. systemd reads its unit files again as often as it is asked, and \
           nothing of it stays beyond a boot.",
    tests: RELOADS,
};

pub(super) const MEMORY: &Why = &Why {
    word: "memory",
    text: "It is said in the events, which are the agent's own memory, and by its next run once more.",
    tests: SERVING,
};

pub(super) const SERVING: &[Test] = &[test(
    "agent/machined/src/node/kube/tests/real/serving.rs",
    "a_kubelet_is_given_its_own_names_and_no_others",
)];

pub(super) const RELOADS: &[Test] = &[test(
    "agent/machined/src/node/systemd/tests/scenarios.rs",
    "changed_unit_files_count_after_one_reload",
)];
pub(super) const OBJECTS: &[Test] = &[real("objects")];
pub(super) const NODES: &[Test] = &[real("this_machines_node")];
pub(super) const MEMBERS: &[Test] = &[test(
    "agent/machined/src/node/etcd/cluster/real/matrix.rs",
    "what_is_asked_of_the_cluster_ends_at_any_step",
)];

/// A scene's test.
pub(super) const fn scripted(name: &'static str) -> Test {
    test("agent/machined/src/crash_matrix/scenes.rs", name)
}

/// A test with real programs.
pub(super) const fn real(name: &'static str) -> Test {
    test("agent/machined/src/crash_matrix/real.rs", name)
}

const INTRODUCTION: &str = "\
# Crash matrix

<!-- Made from the rows in agent/machined/src/crash_matrix.rs; a test compares it.
     To rewrite it: UPDATE=1 cargo nextest run -p machined -->

Every effect that the agent can have, ended at any moment: its process killed, or the power cut, before
it, in the middle of it, and after it when nothing has been said of it yet. What has to hold: the next
run of the agent looks, plans, acts, and the end is what it would have been; before it, the same effect
is planned again; what was acknowledged as lasting is not done a second time after a power cut.

*green*: the tests named in the last column have ended the effect there and compared the end: all files
and their modes below `/etc`, `/run` and `/var/lib`, the hostname, our routes, the units' states, and
what the stage says. Left out is a note in `/run/machined` that was being written: nobody reads it, and
it goes with the boot. Other words are rules, below.
";

const HOW: &str = "
## How it is tried

- The real planner comes to the effect by itself, from a real look; the real adapter carries it out, in
  a mount, network and hostname namespace of its own. systemd is a script that is held to systemd's own
  behaviour by the same scenarios on both; the rows of units are tried on systemd itself as well. What
  other machines would say is played. The rows of etcd and of the API are tried on real etcd and on a
  real API server.
- *Killed*: the effect is really carried out up to each of its steps on the disk, one after the other,
  and nothing after it. Steps are those of `agent/machined/src/durable.rs`, through which the agent does
  all that it does to files; that none is missing is checked against the folders themselves.
- *Power cut*: from the same steps, all that the disk may have then. Each name that was made, renamed or
  removed is there or not, each for itself, unless its folder was synced later; bytes are there, half
  there or missing, unless their file was synced later. `/run` is empty, units are stopped, routes and
  the hostname are gone; `/etc` is tried both as lasting and as empty, which it is on a machine of ours.

What this does not show: a disk that says it has synced and has not; bytes that change later by
themselves; a file system that does half of a rename, or loses a name although its folder was synced.
Two crashes in a row are tried only by chance, in the tests that kill at random.
";

fn page() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str("\n| effect | on | killed before | during | after | power cut before | during | after | tests |\n");
    out.push_str("|---|---|---|---|---|---|---|---|---|\n");
    let mut whys: Vec<&Why> = Vec::new();
    for (kind, row) in rows() {
        let _ = write!(out, "| `{kind}` | {} |", row.object);
        for cell in row.cells {
            match cell {
                Cell::Green => out.push_str(" green |"),
                Cell::Rule(why) => {
                    let _ = write!(out, " *{}* |", why.word);
                    if !whys.iter().any(|known| known.word == why.word) {
                        whys.push(why);
                    }
                }
            }
        }
        let _ = writeln!(out, " {} |", named(&row.tests));
    }
    out.push_str("\n## Rules\n\n");
    for why in whys {
        let _ = write!(out, "- *{}*: {}", why.word, why.text);
        match why.tests {
            [] => out.push('\n'),
            tests => {
                let _ = writeln!(out, " Seen in {}.", named(tests));
            }
        }
    }
    out.push_str(HOW);
    out
}

fn named(tests: &[Test]) -> String {
    let short = |test: &Test| {
        let (_, file) = test.file.rsplit_once('/').unwrap();
        let which = match file {
            "scenes.rs" => "scripted".to_owned(),
            file => file.trim_end_matches(".rs").to_owned(),
        };
        format!("`{which}::{}`", test.name)
    };
    tests.iter().map(short).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_page_is_as_written_down_and_its_tests_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (kind, row) in rows() {
        let rules = row.cells.iter().filter_map(|cell| match cell {
            Cell::Rule(why) => Some(why.tests),
            Cell::Green => None,
        });
        for test in row.tests.iter().chain(rules.flatten()) {
            let text = std::fs::read_to_string(root.join(test.file)).unwrap();
            let there = text.contains(&format!("fn {}(", test.name));
            assert!(there, "{kind}: {} has no {}", test.file, test.name);
        }
    }
    let path = root.join("docs/crash-matrix.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        crate::durable::replace(&path, page.as_bytes(), 0o644).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/crash-matrix.md differs; UPDATE=1 writes it anew:\n{page}"
    );
}
