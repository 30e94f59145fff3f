use super::*;
use crate::desired::Desired;
use crate::facts::HostFacts;
use crate::files::RenderedFile;
use crate::membership::{MemberId, Membership};
use crate::observed::{FileSeen, Observed};
use crate::order::{EtcdOrder, EtcdVerb};
use crate::stages::{Stage, verdict};
use crate::turn::TurnSeen;

const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");
const NOW: i64 = 1_795_219_260;

fn desired() -> Desired {
    let document = DOCUMENT.replace("hostname: w1", "hostname: own");
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let facts = HostFacts::at("192.0.2.9".parse().unwrap());
    Desired::new(&bundle.config, &bundle.secrets.unwrap(), &facts, None, None)
}

fn members(count: u64) -> Vec<Member> {
    let member = |id| Member {
        id: MemberId(id),
        name: match id {
            1 => "own".to_owned(),
            id => format!("cp{id}"),
        },
        peer_urls: vec![match id {
            1 => "https://192.0.2.9:2380".to_owned(),
            id => format!("https://cp{id}:2380"),
        }],
        learner: false,
        leader: false,
        applied: Probe::Seen(9),
    };
    (1..=count).map(member).collect()
}

fn seen(member: u64, purpose: Purpose, ago: i64) -> TurnSeen {
    TurnSeen {
        turn: Turn {
            version: Turn::VERSION,
            holder: format!("cp{member}"),
            member: MemberId(member),
            purpose,
            boot: "b".to_owned(),
            since: NOW - ago,
            order: None,
        },
        revision: 7,
    }
}

fn turn(member: u64, purpose: Purpose, ago: i64) -> Probe<TurnSeen> {
    Probe::Seen(seen(member, purpose, ago))
}

/// A machine of so many on which all runs as it should.
fn well(desired: &Desired, count: u64) -> Observed {
    let files = desired.etcd_begun.last().into_iter();
    let files = files.chain(&desired.api_server).chain(&desired.controllers);
    let there = |file: &RenderedFile| {
        let seen = FileSeen {
            digest: file.digest(),
            mode: file.mode,
        };
        (file.path.clone(), Probe::Seen(seen))
    };
    let all = members(count);
    Observed {
        boot: "now".to_owned(),
        files: files.map(there).collect(),
        etcd_data: Probe::Seen(()),
        membership: Probe::Seen(Membership::of(&all, MemberId(1), "own", true)),
        members: Probe::Seen(all),
        api_server: Probe::Seen(()),
        ..Observed::default()
    }
}

/// What is there is by another document.
fn changed(observed: &mut Observed, file: Option<&RenderedFile>) {
    let seen = FileSeen {
        digest: "other".to_owned(),
        mode: 0o600,
    };
    let path = file.unwrap().path.clone();
    observed.files.insert(path, Probe::Seen(seen));
}

fn said(stage: Stage, desired: &Desired, observed: &Observed) -> String {
    match verdict(stage, desired, observed, NOW).unwrap() {
        Verdict::Act { actions } => {
            let actions: Vec<_> = actions.iter().map(ToString::to_string).collect();
            actions.join(", ")
        }
        Verdict::Blocked { reason, next_step } => {
            format!("{reason} / {}", next_step.unwrap_or_default())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn what_takes_a_machine_away_has_its_turn_first() {
    let desired = desired();
    let mut etcd = well(&desired, 3);
    changed(&mut etcd, desired.etcd.as_ref());
    let mut api = well(&desired, 3);
    changed(&mut api, desired.api_server.as_ref());
    let mut leave = well(&desired, 3);
    leave.etcd_order = Probe::Seen(EtcdOrder {
        version: EtcdOrder::VERSION,
        id: "leave-7".to_owned(),
        by: "alice".to_owned(),
        ordered_ms: 7,
        verb: EtcdVerb::Leave,
        done: false,
    });
    for (stage, observed, purpose, what, waits) in [
        (
            Stage::Etcd,
            etcd,
            "to restart etcd",
            "write /etc/kubernetes/manifests/etcd.yaml",
            "etcd is not restarted with what is new",
        ),
        (
            Stage::ControlPlane,
            api,
            "to restart its API server",
            "write /etc/kubernetes/manifests/kube-apiserver.yaml",
            "the API server is not restarted with what is new",
        ),
        (
            Stage::Etcd,
            leave,
            "to leave etcd",
            "take etcd member own (1) out, by order",
            "cannot leave etcd yet",
        ),
    ] {
        let says = |turn, going_down| {
            let observed = Observed {
                turn,
                going_down,
                ..observed.clone()
            };
            said(stage, &desired, &observed)
        };
        assert_eq!(
            says(Probe::Absent, false),
            format!("take the turn, {purpose}")
        );
        // An old one of its own serves as well, and is made to last.
        let own = says(turn(1, Purpose::Reboot, 500), false);
        assert_eq!(own, format!("keep the turn, {purpose}, {what}"));
        let gone = says(turn(9, Purpose::Reboot, 500), false);
        let expected = format!("take the turn, {purpose}: cp9 is no member any more");
        assert_eq!(gone, expected);
        let held = says(turn(2, Purpose::Reboot, 60), false);
        let expected = format!(
            "{waits}: cp2 has the turn, to reboot, since 2026-11-21T00:00:00Z: one control plane at a \
             time / machinectl status -n cp2 says what it waits for; if it is gone for good: machinectl \
             etcd remove cp2"
        );
        assert_eq!(held, expected);
        let unknown = says(Probe::Unreadable("junk".to_owned()), false);
        assert_eq!(
            unknown,
            format!("{waits}: cannot tell whose turn it is: junk / ")
        );
        for its in [Probe::Absent, turn(1, Purpose::Reboot, 5)] {
            assert_eq!(
                says(its, true),
                format!("{waits}: this machine goes down / ")
            );
        }
    }
}

#[test]
fn a_turn_is_taken_over_only_as_it_was_seen_and_kept_from_now_on() {
    let desired = desired();
    let mut observed = well(&desired, 3);
    changed(&mut observed, desired.etcd.as_ref());
    for (member, purpose) in [(1, Purpose::RestartEtcd), (9, Purpose::Reboot)] {
        observed.turn = turn(member, purpose, 500);
        let verdict = verdict(Stage::Etcd, &desired, &observed, NOW).unwrap();
        let Verdict::Act { actions } = verdict else {
            panic!("{verdict:?}")
        };
        let expected = Action::TakeTurn {
            turn: Turn {
                holder: "own".to_owned(),
                boot: "now".to_owned(),
                ..seen(1, Purpose::RestartEtcd, 0).turn
            },
            over: observed.turn.seen().cloned(),
        };
        assert_eq!(actions[0], expected);
    }
}

#[test]
fn nobody_waits_who_takes_nothing_from_anybody() {
    let desired = desired();
    for (stage, file) in [
        (Stage::Etcd, &desired.etcd),
        (Stage::ControlPlane, &desired.api_server),
    ] {
        let path = &file.as_ref().unwrap().path;
        let writes = format!("write {path}");
        let others = turn(2, Purpose::Reboot, 500);
        // Alone.
        let mut alone = well(&desired, 1);
        changed(&mut alone, file.as_ref());
        assert_eq!(said(stage, &desired, &alone), writes);
        // Not begun in this boot.
        let mut first = well(&desired, 3);
        first.files.insert(path.clone(), Probe::Absent);
        first.turn = others.clone();
        assert_eq!(said(stage, &desired, &first), writes);
        // Without an answer of etcd: it may be this that mends it.
        let mut silent = well(&desired, 3);
        changed(&mut silent, file.as_ref());
        silent.members = Probe::Unreadable("silent".to_owned());
        silent.turn = Probe::Unreadable("silent".to_owned());
        assert_eq!(said(stage, &desired, &silent), writes);
    }
    // An API server that is not there; one that is only not ready may serve somebody.
    let mut down = well(&desired, 3);
    changed(&mut down, desired.api_server.as_ref());
    down.turn = turn(2, Purpose::Reboot, 500);
    down.api_server = Probe::Unreadable("slow".to_owned());
    assert!(said(Stage::ControlPlane, &desired, &down).contains("cp2 has the turn"));
    down.api_server = Probe::Absent;
    assert!(said(Stage::ControlPlane, &desired, &down).starts_with("write"));
}

#[test]
fn a_turn_ends_once_the_others_can_count_on_the_machine_again() {
    let desired = desired();
    let ended = "give the turn back";
    let unwell = "this machine keeps its turn: its etcd and its API server are not well yet, or not as \
                  they should be / ";
    let unheard = "this machine keeps its turn: kubelet may not have heard yet of what is new / ";
    type Change = fn(&Desired, &mut Observed);
    let rows: [(Probe<TurnSeen>, Change, &str); 14] = [
        (Probe::Absent, |_, _| {}, "Settled"),
        (turn(2, Purpose::Reboot, 500), |_, _| {}, "Settled"),
        (turn(9, Purpose::Reboot, 500), |_, _| {}, "Settled"),
        // Nothing was done about it, or it is over: a later boot, or called off.
        (turn(1, Purpose::Reboot, 0), |_, _| {}, ended),
        (turn(1, Purpose::Shutdown, 0), |_, _| {}, ended),
        (turn(1, Purpose::Leave, 0), |_, _| {}, ended),
        (
            turn(1, Purpose::Reboot, 0),
            |_, seen| seen.going_down = true,
            "this machine keeps its turn: it goes down / ",
        ),
        // What answers may be the old process; a clock may jump.
        (turn(1, Purpose::RestartEtcd, 59), |_, _| {}, unheard),
        (turn(1, Purpose::RestartApiServer, 60), |_, _| {}, ended),
        (turn(1, Purpose::RestartEtcd, -1), |_, _| {}, ended),
        (
            turn(1, Purpose::Reboot, 500),
            |_, seen| seen.api_server = Probe::Unreadable("slow".to_owned()),
            unwell,
        ),
        (
            turn(1, Purpose::Reboot, 500),
            |desired, seen| changed(seen, desired.api_server.as_ref()),
            unwell,
        ),
        (
            turn(1, Purpose::Reboot, 500),
            |desired, seen| changed(seen, desired.etcd.as_ref()),
            unwell,
        ),
        (
            turn(1, Purpose::Reboot, 500),
            |_, seen| {
                if let Probe::Seen(members) = &mut seen.members {
                    members[0].applied = Probe::Unreadable("silent".to_owned());
                }
            },
            unwell,
        ),
    ];
    for (turn, change, expected) in rows {
        let mut observed = well(&desired, 3);
        observed.turn = turn;
        change(&desired, &mut observed);
        let said = said(Stage::Turn, &desired, &observed);
        assert_eq!(said, expected, "{:?}", observed.turn);
    }
    // The last of two gives back what it took as one of two.
    let mut last = well(&desired, 1);
    last.turn = turn(1, Purpose::Reboot, 500);
    assert_eq!(said(Stage::Turn, &desired, &last), ended);
    last.members = Probe::Unreadable("silent".to_owned());
    assert_eq!(said(Stage::Turn, &desired, &last), "Settled");
}
