//! Every effect, its process killed and its machine's power cut before it, in the middle of it and after
//! it: what the next run of the agent makes of it. `docs/crash-matrix.md` is made here.
//!
//! An effect that is not in the list below does not compile; a cell that is called green and that no
//! test has tried fails that test.

pub(crate) mod disk;
mod machine;
mod page;
mod real;
mod scenes;
mod trials;

use machine_plan::action::Action;

use crate::node::systemd::tests::bench::Bench;
use page::Cell::{self, Green, Rule};
use page::{API, CLUSTER, NOBODY, ONE_STEP, Row, TURN};

/// Killed before, during and after; cut off before, during and after.
pub(crate) type Proven = [bool; 6];

macro_rules! effects {
    ($($kind:ident: $row:expr,)+) => {
        /// What an action is called in the matrix.
        pub(crate) fn kind(action: &Action) -> &'static str {
            match action {
                $(Action::$kind { .. } => stringify!($kind),)+
            }
        }

        fn rows() -> Vec<(&'static str, Row)> {
            vec![$((stringify!($kind), $row),)+]
        }
    };
}

effects! {
    WriteFile: played("kubelet's configuration, on the disk", &scenes::write_file(), None),
    RemoveFile: played("a registry's settings of an earlier document", &scenes::remove_file(), None),
    SetHostname: played("the kernel's", &scenes::set_hostname(), None),
    IssueLeaf: played("a key and its certificate", &scenes::issue_leaf(), None),
    ReloadManager: Row::new("systemd", [Rule(NOBODY); 6], page::RELOADS),
    RestartUnit: played("containerd.service", &scenes::restart_unit(), Some("restart_unit")),
    ReloadUnit: played("systemd-networkd.service", &scenes::reload_unit(), Some("reload_unit")),
    StartUnit: played("containerd.service, which has failed", &scenes::start_unit(), Some("start_unit")),
    StopUnit: played("keepalived.service of an earlier document", &scenes::stop_unit(), Some("stop_unit")),
    KeepControlPlanes: played("in the ledger", &scenes::keep_control_planes(), None),
    ApplyObjects: Row::new("all of a new cluster's", [Green; 6], page::OBJECTS),
    MarkNode: Row::new("labels and taints", asked_of(API), page::NODES),
    AssignPodCidrs: Row::new("the first nodes'", asked_of(API), page::NODES),
    SetRoutes: played("to two nodes' pods", &scenes::set_routes(), None),
    UncordonNode: Row::new("after a reboot that was not", asked_of(API), page::NODES),
    ApproveServing: Row::new("of a node's own names", asked_of(API), page::SERVING),
    TellServing: Row::new("of another node's name", [Rule(page::MEMORY); 6], page::SERVING),
    JoinEtcd: Row::new("the second member", [Green; 6], page::MEMBERS),
    KeepMembership: played("in the ledger", &scenes::keep_membership(), None),
    PromoteMember: Row::new("the second member", asked_of(CLUSTER), page::MEMBERS),
    UpdateMember: Row::new("one of two members", asked_of(CLUSTER), page::MEMBERS),
    RemoveMember: Row::new("one that is not remembered", asked_of(CLUSTER), page::MEMBERS),
    TakeTurn: Row::new("one of two members", asked_of(TURN), page::MEMBERS),
    GiveTurn: Row::new("one of two members", asked_of(TURN), page::MEMBERS),
    LeaveEtcd: Row::new("one of two members", [Green, Green, Green, Rule(CLUSTER), Rule(CLUSTER), Rule(CLUSTER)], page::MEMBERS),
    RestoreEtcd: played("from a snapshot", &scenes::restore_etcd(), None),
    PlaceEtcd: played("beside data of before", &scenes::place_etcd(), None),
    SetEtcdAside: played("by an order to discard", &scenes::set_etcd_aside(), None),
    FinishEtcdOrder: played("of a recovery", &scenes::finish_etcd_order(), None),
    FinishBootstrap: played("in the ledger", &scenes::finish_bootstrap(), None),
}

macro_rules! scripted {
    ($($name:ident,)+) => {
        /// Tests that a scene has.
        const SCRIPTED: &[(&str, &str)] = &[$((stringify!($name), scenes::$name().kind),)+];

        mod scripted {
            $(#[test]
            fn $name() {
                super::try_scripted(super::scenes::$name());
            })+
        }
    };
}

scripted! {
    write_file,
    remove_file,
    set_hostname,
    issue_leaf,
    restart_unit,
    reload_unit,
    start_unit,
    stop_unit,
    keep_control_planes,
    set_routes,
    keep_membership,
    restore_etcd,
    place_etcd,
    set_etcd_aside,
    finish_etcd_order,
    finish_bootstrap,
}

fn try_scripted(scene: scenes::Scene) {
    machine::alone(Bench::scripted, async move |bench| {
        bench.on_start(scenes::restores);
        proven(scene.kind, trials::run(&scene, &bench).await);
    });
}

/// Says of a test that it has tried these cells: they are the row's green ones.
pub(crate) fn proven(kind: &str, cells: Proven) {
    let rows = rows();
    let (_, row) = rows.iter().find(|(name, _)| *name == kind).unwrap();
    let green = row.cells.map(|cell| matches!(cell, Green));
    assert_eq!(green, cells, "{kind} is not as the matrix says");
}

/// A row that a scene proves, by a scripted systemd and, where it has to do with units, by the real one.
fn played(object: &'static str, scene: &scenes::Scene, real: Option<&'static str>) -> Row {
    let during = if scene.steps { Green } else { Rule(ONE_STEP) };
    let cells = [Green, during, Green, Green, during, Green];
    let name = SCRIPTED.iter().find(|(_, kind)| *kind == scene.kind);
    let mut tests = vec![page::scripted(name.unwrap().0)];
    tests.extend(real.map(page::real));
    Row {
        object,
        cells,
        tests,
    }
}

/// One request, which leaves nothing on this machine.
const fn asked_of(whom: &'static page::Why) -> [Cell; 6] {
    let rule = Rule(whom);
    [Green, Rule(ONE_STEP), Green, rule, rule, rule]
}
