//! Several machines one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    dead_code,
    reason = "a test says what fails by failing; it uses a part of the fake machine"
)]

mod fake;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use fake::{Manner, Mood, Seen, start_as};
use machine_pki::AuthorityKind;
use tempfile::TempDir;

/// Machines `w1`, `w2`, … of one cluster, and somebody with its context.
struct Desk {
    home: TempDir,
    nodes: Vec<String>,
    done: Arc<Mutex<Vec<String>>>,
}

impl Desk {
    fn new(moods: &[Mood]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let names: Vec<_> = (1..=moods.len()).map(|n| format!("w{n}")).collect();
        let workers = names.join(",");
        let name = ["gen", "config", "--name", "demo", "--endpoint", "10.0.2.15"];
        let nodes = ["--control-planes", "cp1", "--workers", &workers];
        let (exit, _, err) = run(home.path(), &[&name[..], &nodes].concat());
        assert_eq!(exit, 0, "{err}");
        let text = std::fs::read(home.path().join("demo/secrets.yaml")).unwrap();
        let secrets = machine_config::read_secrets(&text).unwrap();
        let authority = secrets.authority(AuthorityKind::Machine).unwrap();
        let done = Arc::<Mutex<Vec<String>>>::default();
        let machine = |(name, mood): (&String, &Mood)| {
            let seen = Seen {
                done: Arc::clone(&done),
                mood: *mood,
                ..Seen::default()
            };
            let (port, _) = start_as(&authority, name, Manner::Configured, seen);
            format!("{name}=127.0.0.1:{port}")
        };
        let nodes = names.iter().zip(moods).map(machine).collect();
        Self { home, nodes, done }
    }

    /// With all machines, in their order.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let nodes = self.nodes.join(",");
        run(self.home.path(), &[args, &["-n", &nodes]].concat())
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }
}

fn run(home: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_machinectl"))
        .env_clear()
        .env("HOME", home)
        .current_dir(home)
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// The words of a table's rows.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().skip(1);
    rows.map(|row| {
        row.split("  ")
            .filter(|w| !w.is_empty())
            .map(str::trim)
            .collect()
    })
    .collect()
}

#[test]
fn each_is_well_again_before_the_next_reboots() {
    let desk = Desk::new(&[Mood::Well; 3]);
    let (exit, out, err) = desk.run(&["reboot"]);
    assert_eq!(exit, 0, "{out}{err}");
    assert_eq!(
        desk.done(),
        [
            "w1 reboot",
            "w1 well",
            "w2 reboot",
            "w2 well",
            "w3 reboot",
            "w3 well"
        ]
    );
    let rows = rows(&out);
    assert_eq!(rows.len(), 3, "{out}");
    for (row, name) in rows.iter().zip(["w1", "w2", "w3"]) {
        assert_eq!(row[..2], [name, "rebooted"]);
        assert!(row[2].starts_with("well again after"), "{out}");
    }
    assert!(err.contains("w2: boot: a new one"), "{err}");
}

#[test]
fn the_first_that_refuses_ends_it_and_is_told_with_how_to_go_on() {
    let desk = Desk::new(&[Mood::Well, Mood::Refuses, Mood::Well]);
    let (exit, out, err) = desk.run(&["reboot", "--drain-timeout", "5s"]);
    assert_eq!(exit, 1, "{out}{err}");
    assert_eq!(desk.done(), ["w1 reboot", "w1 well"]);
    let rows = rows(&out);
    assert_eq!(rows[1][..2], ["w2", "not rebooted"], "{out}");
    assert!(rows[1][2].contains("etcd would lose its quorum"), "{out}");
    assert_eq!(rows[2], ["w3", "not begun"], "{out}");
    let next = format!(
        "not begun: w3\n  next: when it is well, go on: machinectl reboot -n {},{} --drain-timeout 5s",
        desk.nodes[1], desk.nodes[2]
    );
    assert!(err.contains(&next), "{err}");
    // By force all go at once, and nobody is waited for.
    desk.done.lock().unwrap().clear();
    let (exit, out, err) = desk.run(&["reboot", "--force"]);
    assert_eq!(exit, 0, "{out}{err}");
    let mut done = desk.done();
    done.sort();
    assert_eq!(done, ["w1 reboot", "w2 reboot", "w3 reboot"]);
    assert!(out.contains("reboots"), "{out}");
}

#[test]
fn one_that_does_not_come_back_is_not_rebooted_again() {
    let desk = Desk::new(&[Mood::Sick, Mood::Well]);
    let (exit, out, err) = desk.run(&["reboot", "--timeout", "3s"]);
    assert_eq!(exit, 4, "{out}{err}");
    assert_eq!(desk.done(), ["w1 reboot"]);
    assert_eq!(rows(&out)[0][..2], ["w1", "not well"], "{out}");
    let next = format!("go on: machinectl reboot -n {}\n", desk.nodes[1]);
    assert!(err.contains(&next), "{err}");
}

#[test]
fn one_machine_is_waited_for_where_it_is_said() {
    let desk = Desk::new(&[Mood::Well]);
    let (exit, out, _) = desk.run(&["reboot"]);
    assert_eq!((exit, out.as_str()), (0, "w1: reboots\n"));
    assert_eq!(desk.done(), ["w1 reboot"]);
    let (exit, out, err) = desk.run(&["reboot", "--wait"]);
    assert_eq!(exit, 0, "{out}{err}");
    assert_eq!(desk.done(), ["w1 reboot", "w1 well"]);
}

#[test]
fn all_are_asked_to_shut_down_and_who_refuses_is_told() {
    let desk = Desk::new(&[Mood::Well, Mood::Refuses, Mood::Well]);
    let (exit, out, err) = desk.run(&["shutdown"]);
    assert_eq!(exit, 1, "{out}{err}");
    let mut done = desk.done();
    done.sort();
    assert_eq!(done, ["w1 shutdown", "w3 shutdown"]);
    let rows = rows(&out);
    assert_eq!(rows[0], ["w1", "shuts down"]);
    assert_eq!(rows[1][..2], ["w2", "failed"]);
    assert!(rows[1][2].contains("etcd would lose its quorum"), "{out}");
    assert!(err.contains("1 of 3 nodes failed"), "{err}");
}

#[test]
fn a_config_is_in_effect_on_one_before_the_next_has_it() {
    let files = ["-f", "demo/w1.yaml", "demo/w2.yaml", "demo/w3.yaml"];
    let desk = Desk::new(&[Mood::Well, Mood::Sick, Mood::Well]);
    let args = [&["apply-config", "--wait", "--timeout", "3s"][..], &files].concat();
    let (exit, out, err) = desk.run(&args);
    assert_eq!(exit, 4, "{out}{err}");
    assert_eq!(desk.done(), ["w1 apply", "w1 well", "w2 apply"]);
    let rows = rows(&out);
    assert_eq!(rows[0], ["w1", "2", "yes", "in effect"]);
    assert_eq!(rows[1], ["w2", "-", "-", "failed"]);
    assert_eq!(rows[2], ["w3", "-", "-", "not begun"]);
    assert!(err.contains("not begun: w3"), "{err}");
    assert!(err.contains("the same command again"), "{err}");
    // Together where that is said, and where nobody waits.
    for more in [&["--wait", "--timeout", "3s", "--at-once"][..], &[]] {
        desk.done.lock().unwrap().clear();
        let args = [&["apply-config"][..], &files, more].concat();
        desk.run(&args);
        let done = desk.done();
        for name in ["w1", "w2", "w3"] {
            assert!(done.contains(&format!("{name} apply")), "{done:?}");
        }
    }
}
