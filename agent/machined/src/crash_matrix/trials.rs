//! One effect, ended and cut off at every step: what the next run of the agent makes of it must be
//! what it would have been.

use std::collections::BTreeSet;
use std::path::Path;

use machine_plan::action::Action;
use machine_plan::verdict::Verdict;

use super::disk::{self, Kept, Tree};
use super::machine::{Agent, Moment, Outside, STATE, fail, units};
use super::scenes::Scene;
use super::{Proven, kind};
use crate::api::fixture;
use crate::durable::steps;
use crate::node::systemd::tests::bench::Bench;

/// How a trial ended.
#[derive(Debug, PartialEq)]
struct End {
    disk: Tree,
    outside: Outside,
    verdict: Verdict,
}

/// Runs all of a scene's trials and tells which there were.
pub(super) async fn run(scene: &Scene, bench: &Bench) -> Proven {
    let (start, action) = come_to(scene, bench).await;
    // Nothing happens: what it is to be like in the end, and every step on the way.
    let agent = Agent::start(bench);
    steps::record(usize::MAX);
    agent.execute(&action).await;
    let taken = steps::recorded();
    let parts = parts(&action);
    assert_eq!(
        scene.steps,
        !taken.is_empty() || parts.len() > 1,
        "{taken:?}"
    );
    let done = Moment::look(bench, units(scene.stage)).await;
    same(scene, &done.disk, &disk::killed(&start.disk, &taken));
    let right = end(scene, bench, &agent).await;
    drop(agent);

    // Before.
    start.put(bench, units(scene.stage)).await;
    assert_eq!(
        next(scene, &Agent::start(bench)).await,
        Some(action.clone())
    );
    alike(&after(scene, bench).await, &right, "ended before it");
    // During, and after.
    for count in 0..=taken.len() {
        start.put(bench, units(scene.stage)).await;
        let agent = Agent::start(bench);
        steps::record(count);
        let _ = agent.node.execute(&agent.entry, &action).await;
        let taken = steps::recorded();
        drop(agent);
        same(
            scene,
            &disk::read(&disk::roots()),
            &disk::killed(&start.disk, &taken),
        );
        let when = format!("killed after step {count}, {:?}", taken.last());
        alike(&after(scene, bench).await, &right, &when);
    }
    for part in &parts {
        start.put(bench, units(scene.stage)).await;
        Agent::start(bench).execute(part).await;
        alike(
            &after(scene, bench).await,
            &right,
            &format!("killed after {part}"),
        );
    }

    // The power goes: what is in /run is gone, and what is in /etc on a machine of ours.
    let last = disk::cut(&start.disk, &taken);
    if matches!(scene.kind, "WriteFile" | "IssueLeaf") {
        assert_eq!(last.len(), 1, "a file that was written lasts");
    }
    let mut ways: BTreeSet<Tree> = last.clone();
    for count in 0..taken.len() {
        ways.extend(disk::cut(&start.disk, &taken[..count]));
    }
    let mut tried = BTreeSet::new();
    for gone in [&["/run"][..], &["/run", "/etc"]] {
        let booted = |tree: &Tree| {
            let stays = |path: &Path| !gone.iter().any(|folder| path.starts_with(folder));
            let left = tree.iter().filter(|(path, _)| stays(path));
            left.map(|(path, kept)| (path.clone(), kept.clone()))
                .collect::<Tree>()
        };
        let last: BTreeSet<Tree> = last.iter().map(booted).collect();
        let (right, _) = after_boot(scene, bench, booted(&start.disk)).await;
        let trees: BTreeSet<Tree> = ways.iter().map(booted).collect();
        for tree in trees.into_iter().filter(|tree| tried.insert(tree.clone())) {
            let lasts = scene.lasts && last.contains(&tree);
            let (end, again) = after_boot(scene, bench, tree.clone()).await;
            alike(
                &end,
                &right,
                &format!("the power went at {:#?}", names(&tree)),
            );
            if lasts && gone.len() == 1 {
                assert!(!again, "{} was lost: {:?}", scene.kind, names(&tree));
            }
        }
    }
    [true, scene.steps, true, true, scene.steps, true]
}

/// To where the effect is the next to be done.
async fn come_to(scene: &Scene, bench: &Bench) -> (Moment, Action) {
    let empty = Moment {
        disk: Tree::new(),
        outside: Outside::fresh(),
    };
    empty.put(bench, units(scene.stage)).await;
    drop(fixture::enrolled(Path::new(STATE), &(scene.document)()));
    let agent = Agent::start(bench);
    (scene.prepare)(&agent);
    if let Some(unit) = scene.runs {
        bench.systemd.start(unit).await.unwrap();
    }
    if scene.fails.is_some() || scene.changes.is_some() {
        agent.settle(scene.stage, scene.played).await;
    }
    if let Some(unit) = scene.fails {
        fail(bench, unit).await;
    }
    if let Some(changes) = scene.changes {
        changes();
    }
    for _ in 0..40 {
        match next(scene, &agent).await {
            Some(action) if kind(&action) == scene.kind => {
                return (Moment::look(bench, units(scene.stage)).await, action);
            }
            Some(action) => agent.execute(&action).await,
            None => break,
        }
    }
    let last = agent.look(scene.stage, scene.played).await;
    panic!("{} is never planned: {last:?}", scene.kind);
}

async fn next(scene: &Scene, agent: &Agent) -> Option<Action> {
    let actions = agent.plan(scene.stage, scene.played).await;
    actions.into_iter().next()
}

async fn end(scene: &Scene, bench: &Bench, agent: &Agent) -> End {
    let verdict = agent.settle(scene.stage, scene.played).await;
    let moment = Moment::look(bench, units(scene.stage)).await;
    End {
        disk: shown(scene, moment.disk),
        outside: moment.outside,
        verdict,
    }
}

/// A new run of the agent finds what is there.
async fn after(scene: &Scene, bench: &Bench) -> End {
    end(scene, bench, &Agent::start(bench)).await
}

/// The same in a new boot, and whether the effect was planned once more.
async fn after_boot(scene: &Scene, bench: &Bench, disk: Tree) -> (End, bool) {
    let outside = Outside::fresh();
    Moment { disk, outside }
        .put(bench, units(scene.stage))
        .await;
    let agent = Agent::start(bench);
    let planned = agent.plan(scene.stage, scene.played).await;
    let again = match scene.kind {
        // Others of its kind may be left to do.
        "WriteFile" | "IssueLeaf" => false,
        kind_of => planned.iter().any(|action| kind(action) == kind_of),
    };
    (end(scene, bench, &agent).await, again)
}

/// What an effect without steps on the disk is done in.
fn parts(action: &Action) -> Vec<Action> {
    let Action::SetRoutes { add, remove } = action else {
        return Vec::new();
    };
    let upto = |count: usize| Action::SetRoutes {
        add: add[..count].to_vec(),
        remove: remove.clone(),
    };
    (1..=add.len()).map(upto).collect()
}

// Folders are large: what differs is shown.
fn alike(is: &End, right: &End, when: &str) {
    assert_eq!(names(&is.disk), names(&right.disk), "{when}");
    assert_eq!(is.outside, right.outside, "{when}");
    assert_eq!(is.verdict, right.verdict, "{when}");
    let differ = is
        .disk
        .iter()
        .filter(|one| !right.disk.iter().any(|r| r == *one));
    let differ: Vec<_> = differ.map(|(path, _)| path).collect();
    assert!(differ.is_empty(), "{differ:?} {when}");
}

fn same(scene: &Scene, is: &Tree, expected: &Tree) {
    let (is, expected) = (shown(scene, is.clone()), shown(scene, expected.clone()));
    assert_eq!(names(&is), names(&expected));
    assert!(is == expected, "other bytes");
}

/// Without what is another each time, without what is only read together with a job, and without a note
/// that was being written: it has a name of its own, is read by nobody, and goes with the boot.
fn shown(scene: &Scene, mut tree: Tree) -> Tree {
    tree.retain(|path, _| !(path.starts_with("/run/machined") && is_being_written(path)));
    for path in ["/run/machined/etcd-restore", "/run/machined"] {
        tree.remove(Path::new(path));
    }
    for kept in tree.values_mut().filter(|_| scene.random) {
        if let Kept::File(_, bytes) = kept {
            bytes.clear();
        }
    }
    tree
}

fn is_being_written(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(".new")
}

fn names(tree: &Tree) -> Vec<String> {
    let shown = |(path, kept): (&std::path::PathBuf, &Kept)| match kept {
        Kept::File(mode, bytes) => format!("{} {mode:o} {}", path.display(), bytes.len()),
        Kept::Folder(mode) => format!("{}/ {mode:o}", path.display()),
        Kept::Link(to) => format!("{} -> {}", path.display(), to.display()),
    };
    tree.iter().map(shown).collect()
}
