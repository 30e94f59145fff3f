use super::*;
use crate::desired::{Desired, Unit};
use crate::facts::HostFacts;
use crate::files::RenderedFile;
use crate::membership::{Member, MemberId, Membership};
use crate::observed::{FileSeen, NodeSeen, Observed, Restored, UnitSeen};
use crate::order::{EtcdOrder, EtcdVerb, Source};
use crate::stages::etcd::tests::members;
use crate::stages::{Stage, verdict};
use crate::turn::{Purpose, Turn, TurnSeen};

const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");
const OWN: &str = "https://192.0.2.9:2380";

fn desired(run_as: &str, joined: Option<&Membership>) -> Desired {
    desired_of(DOCUMENT, run_as, joined)
}

fn desired_of(document: &str, run_as: &str, joined: Option<&Membership>) -> Desired {
    let words = format!("cluster:\n  etcd: {{ runAs: {run_as} }}\n");
    let document = document.replace("hostname: w1", "hostname: own");
    let document = document.replacen("cluster:\n", &words, 1);
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let facts = HostFacts::at("192.0.2.9".parse().unwrap());
    let secrets = bundle.secrets.unwrap();
    Desired::new(&bundle.config, &secrets, &facts, None, joined)
}

fn unit(desired: &Desired, file: &RenderedFile) -> Unit {
    desired.etcd_unit_of(file).unwrap()
}

fn state(active: &str, sub: &str, inputs: Option<&str>) -> UnitSeen {
    UnitSeen {
        active_state: active.to_owned(),
        sub_state: sub.to_owned(),
        result: "exit-code".to_owned(),
        inputs: inputs.map(str::to_owned),
        ..UnitSeen::default()
    }
}

/// With this in the arguments' file and this unit.
fn seen(file: &RenderedFile, unit: UnitSeen) -> Observed {
    let there = FileSeen {
        digest: file.digest(),
        mode: file.mode,
    };
    Observed {
        boot: "now".to_owned(),
        files: [(file.path.clone(), Probe::Seen(there))].into(),
        units: [(ETCD.to_owned(), Probe::Seen(unit))].into(),
        ..Observed::default()
    }
}

fn said(desired: &Desired, observed: &Observed) -> String {
    match verdict(Stage::Etcd, desired, observed, 0).unwrap() {
        Verdict::Act { actions } => {
            let actions: Vec<_> = actions.iter().map(ToString::to_string).collect();
            actions.join(", ")
        }
        Verdict::Blocked { reason, .. } => reason,
        other => format!("{other:?}"),
    }
}

/// That have a vote, named by their ids; the first is this machine's.
fn voters(answer: &[bool]) -> Vec<Member> {
    let member = |(index, answers): (u64, &bool)| Member {
        id: MemberId(index),
        name: match index {
            0 => "own".to_owned(),
            other => format!("cp{other}"),
        },
        peer_urls: vec![match index {
            0 => OWN.to_owned(),
            other => format!("https://cp{other}:2380"),
        }],
        learner: false,
        leader: false,
        applied: match answers {
            true => Probe::Seen(9),
            false => Probe::Unreadable("silent".to_owned()),
        },
    };
    (0..).zip(answer).map(member).collect()
}

const NEW: &str = "write /etc/etcd/etcd.env, restart etcd.service";

#[test]
fn a_unit_gets_the_pods_arguments() {
    let added = voters(&[true, true]);
    let joined = Membership::of(&added, MemberId(0), "own", false);
    for joined in [None, Some(&joined)] {
        let (pod, unit) = (desired("pod", joined), desired("unit", joined));
        let manifests = pod.etcd.iter().chain(&pod.etcd_begun);
        let told = unit.etcd.iter().chain(&unit.etcd_begun);
        assert_eq!(told.clone().count(), 3);
        for (manifest, told) in manifests.zip(told) {
            let manifest = manifest.content.expose();
            let command = manifest
                .lines()
                .map(|line| line.trim().trim_start_matches("- "));
            let of_the_pod: Vec<_> = command.filter(|word| word.starts_with("--")).collect();
            let told = told.content.expose();
            let words = told.strip_prefix("ARGUMENTS=\"").unwrap();
            let words = words.strip_suffix("\"\n").unwrap();
            assert_eq!(of_the_pod, words.split(' ').collect::<Vec<_>>());
            assert!(of_the_pod.len() > 15, "{of_the_pod:?}");
        }
        assert!(pod.unit_names().all(|name| name != ETCD));
        assert!(unit.unit_names().any(|name| name == ETCD));
        // All else is as it is.
        assert_eq!(pod.api_server, unit.api_server);
        assert_eq!(pod.leaves, unit.leaves);
    }
}

#[test]
fn by_order_it_begins_and_is_seen_to_until_it_runs() {
    let desired = desired("unit", None);
    let file = desired.etcd.clone().unwrap();
    let inputs = unit(&desired, &file).inputs;
    let inputs = Some(inputs.as_str());
    let never = |unit| Observed {
        files: [(file.path.clone(), Probe::Absent)].into(),
        ..seen(&file, unit)
    };
    for (observed, expected) in [
        (never(state("inactive", "dead", None)), NEW),
        // Cut short between the two.
        (
            seen(&file, state("inactive", "dead", None)),
            "restart etcd.service",
        ),
        // Or between the second and its note.
        (
            seen(&file, state("active", "running", None)),
            "restart etcd.service",
        ),
        (seen(&file, state("active", "running", inputs)), "Settled"),
        (
            seen(&file, state("activating", "auto-restart", inputs)),
            "etcd.service is auto-restart",
        ),
        (
            seen(&file, state("failed", "failed", inputs)),
            "start etcd.service",
        ),
    ] {
        let ordered = Observed {
            bootstrap_ordered: true,
            ..observed
        };
        let said = said(&desired, &ordered);
        assert!(said.starts_with(expected), "{expected}: {said}");
    }
    let without = Observed {
        bootstrap_ordered: true,
        ..Observed::default()
    };
    assert_eq!(
        said(&desired, &without),
        "systemd knows no unit etcd.service"
    );
    // Nothing begins without an order, whatever is there.
    let fresh = seen(&file, state("inactive", "dead", None));
    assert!(said(&desired, &fresh).starts_with("no cluster answers at the endpoint"));
}

#[test]
fn one_that_was_added_begins_in_that_boot_only() {
    let added = voters(&[false, true]);
    let joined = Membership::of(&added, MemberId(0), "own", false).added_in("now");
    let desired = desired("unit", Some(&joined));
    let file = desired.etcd.clone().unwrap();
    let inputs = unit(&desired, &file).inputs;
    let mut list = added.clone();
    list[0].name.clear();
    list[0].learner = true;
    for (boot, data, unit, expected) in [
        (
            "now",
            Probe::Absent,
            state("inactive", "dead", None),
            "restart etcd.service",
        ),
        (
            "now",
            Probe::Absent,
            state("active", "running", Some(&inputs)),
            "etcd starts as a learner",
        ),
        (
            "later",
            Probe::Absent,
            state("inactive", "dead", None),
            "remove etcd member https://192.0.2.9:2380",
        ),
        (
            "now",
            Probe::Seen(()),
            state("active", "running", Some(&inputs)),
            "etcd catches up",
        ),
        (
            "now",
            Probe::Seen(()),
            state("activating", "auto-restart", Some(&inputs)),
            "etcd.service is auto-restart",
        ),
    ] {
        let observed = Observed {
            boot: boot.to_owned(),
            etcd_data: data,
            membership: Probe::Seen(joined.clone()),
            members: Probe::Seen(list.clone()),
            ..seen(&file, unit)
        };
        let said = said(&desired, &observed);
        assert!(said.starts_with(expected), "{expected}: {said}");
    }
}

#[test]
fn what_is_new_restarts_a_member_only_while_the_others_can_do_without_it() {
    let desired = desired("unit", None);
    let begun = desired.etcd_begun.last().unwrap();
    let other = RenderedFile::private(begun.path.clone(), "other");
    let right = unit(&desired, begun).inputs;
    let three = |answer: [bool; 3]| Probe::Seen(voters(&answer));
    let member = |members: Probe<Vec<Member>>, observed: Observed| Observed {
        etcd_data: Probe::Seen(()),
        membership: Probe::Seen(Membership::of(
            &voters(&[true; 3]),
            MemberId(0),
            "own",
            true,
        )),
        members,
        ..observed
    };
    let runs = |inputs| state("active", "running", inputs);
    let turn = |member| TurnSeen {
        turn: Turn {
            version: Turn::VERSION,
            holder: format!("cp{member}"),
            member: MemberId(member),
            purpose: Purpose::RestartEtcd,
            boot: "now".to_owned(),
            since: 0,
            order: None,
        },
        revision: 7,
    };
    for (members, file, unit, expected, restarts) in [
        (
            three([true; 3]),
            begun,
            runs(Some(&right)),
            "Settled",
            false,
        ),
        (three([true; 3]), &other, runs(Some("other")), NEW, true),
        (
            three([true, true, false]),
            &other,
            runs(Some("other")),
            "etcd is not restarted with what is new",
            false,
        ),
        // The file is there, and the unit was not told of it.
        (
            three([true, true, false]),
            begun,
            runs(Some("other")),
            "etcd is not restarted with what is new",
            false,
        ),
        (
            three([true; 3]),
            begun,
            runs(Some("other")),
            "restart etcd.service",
            true,
        ),
        // What does not run is missed already.
        (
            three([false, true, true]),
            &other,
            state("inactive", "dead", None),
            NEW,
            false,
        ),
        // After a power cut of all at once nobody can ask anybody.
        (
            Probe::Unreadable("no quorum".to_owned()),
            &other,
            state("inactive", "dead", None),
            NEW,
            false,
        ),
        (
            three([false, true, true]),
            begun,
            state("failed", "failed", Some(&right)),
            "start etcd.service",
            false,
        ),
    ] {
        let mut observed = member(members, seen(file, unit));
        observed.turn = Probe::Seen(turn(0));
        let its = said(&desired, &observed);
        let does = its.strip_prefix("keep the turn, to restart etcd, ");
        assert_eq!(does.is_some(), restarts, "{its}");
        let does = does.unwrap_or(&its);
        assert!(does.starts_with(expected), "{expected}: {its}");
        // In another's turn nothing restarts what runs; what does not run is started.
        observed.turn = Probe::Seen(turn(1));
        let waits = said(&desired, &observed);
        match restarts {
            true => assert!(waits.contains("cp1 has the turn"), "{waits}"),
            false => assert!(waits.starts_with(expected), "{expected}: {waits}"),
        }
    }
    // A manager that does not answer is no reason to restart anything.
    let mut silent = member(three([true; 3]), seen(begun, UnitSeen::default()));
    let why = Probe::Unreadable("no answer".to_owned());
    silent.units.insert(ETCD.to_owned(), why);
    assert_eq!(
        said(&desired, &silent),
        "cannot ask systemd about etcd.service: no answer"
    );
    // Nor not to remember who it is.
    silent.membership = Probe::Absent;
    assert_eq!(said(&desired, &silent), "remember etcd member 0 as a voter");
}

fn ordered(desired: &Desired, verb: EtcdVerb, observed: Observed) -> Observed {
    let gone = |file: &RenderedFile| (file.path.clone(), Probe::Absent);
    let pods = desired.api_server.iter().chain(&desired.controllers);
    let mut files = observed.files.clone();
    files.extend(pods.map(gone));
    Observed {
        files,
        etcd_data: Probe::Seen(()),
        etcd_order: Probe::Seen(EtcdOrder {
            version: EtcdOrder::VERSION,
            id: format!("{}-7", verb.word()),
            by: "alice".to_owned(),
            ordered_ms: 7,
            verb,
            done: false,
        }),
        ..observed
    }
}

#[test]
fn by_order_the_unit_stops_before_its_data_is_touched() {
    let desired = desired("unit", None);
    let file = desired.etcd.clone().unwrap();
    let inputs = unit(&desired, &file).inputs;
    let stop = "stop etcd.service, remove /etc/etcd/etcd.env";
    let without = |observed: Observed| Observed {
        files: [(file.path.clone(), Probe::Absent)].into(),
        ..observed
    };
    let runs = || seen(&file, state("active", "running", Some(&inputs)));
    let dead = || seen(&file, state("inactive", "dead", None));
    let silent = || {
        let mut silent = without(dead());
        let why = Probe::Unreadable("no answer".to_owned());
        silent.units.insert(ETCD.to_owned(), why);
        silent
    };
    for (verb, end) in [
        (
            EtcdVerb::Recover(Source::Data),
            "restore etcd member own from its own data",
        ),
        (EtcdVerb::Discard, "set etcd's data aside"),
    ] {
        for (observed, locked, expected) in [
            (runs(), true, stop),
            // Between two starts it has nothing locked, and goes on all the same.
            (
                seen(&file, state("activating", "auto-restart", Some(&inputs))),
                false,
                stop,
            ),
            // Cut short between the two: nobody can start it with these any more.
            (dead(), false, stop),
            (without(runs()), false, "stop etcd.service"),
            (silent(), false, "stop etcd.service"),
            (without(dead()), true, "waits until etcd here has stopped"),
            (without(dead()), false, end),
        ] {
            let observed = Observed {
                etcd_runs: match locked {
                    true => Probe::Seen(()),
                    false => Probe::Absent,
                },
                restored: Restored::Nothing,
                ..ordered(&desired, verb.clone(), observed)
            };
            let said = said(&desired, &observed);
            assert!(said.starts_with(expected), "{expected}: {said}");
        }
    }
}

#[test]
fn to_leave_after_a_power_cut_it_runs_once_more() {
    let desired = desired("unit", None);
    let begun = desired.etcd_begun.last().unwrap();
    let other = RenderedFile::private(begun.path.clone(), "other");
    let inputs = unit(&desired, begun).inputs;
    for (file, unit, expected) in [
        (&other, state("inactive", "dead", None), NEW),
        (
            begun,
            state("inactive", "dead", None),
            "restart etcd.service",
        ),
        // It runs as another machine than this is now.
        (&other, state("active", "running", Some(&inputs)), NEW),
        (
            begun,
            state("active", "running", Some(&inputs)),
            "leaves etcd when a member with a vote answers",
        ),
    ] {
        let observed = Observed {
            members: Probe::Unreadable("no quorum".to_owned()),
            ..ordered(&desired, EtcdVerb::Leave, seen(file, unit))
        };
        let said = said(&desired, &observed);
        assert!(said.starts_with(expected), "{expected}: {said}");
    }
}

#[test]
fn kubelet_runs_once_etcd_was_begun_in_either_form() {
    for run_as in ["pod", "unit"] {
        let desired = desired(run_as, None);
        let file = desired.etcd.clone().unwrap();
        let mut observed = seen(&file, state("activating", "auto-restart", None));
        observed.units.insert(
            "kubelet.service".to_owned(),
            Probe::Seen(UnitSeen::default()),
        );
        let kubelet = |observed: &Observed| verdict(Stage::Kubelet, &desired, observed, 0).unwrap();
        assert!(matches!(kubelet(&observed), Verdict::Act { .. }));
        observed.files.insert(file.path, Probe::Absent);
        let waits = Verdict::wait("there is no pod of the control plane to run yet");
        assert_eq!(kubelet(&observed), waits);
    }
}

#[test]
fn kubelet_of_one_that_joins_runs_before_its_etcd_where_it_reaches_another() {
    let older = DOCUMENT.replace("v1.37.0", "v1.32.0");
    assert_ne!(older, DOCUMENT);
    let desired = desired_of(&older, "pod", None);
    let file = desired.etcd.clone().unwrap();
    let mut observed = seen(&file, UnitSeen::default());
    let kubelet = |observed: &Observed| verdict(Stage::Kubelet, &desired, observed, 0).unwrap();
    let waits = Verdict::wait("there is no pod of the control plane to run yet");
    observed.files.insert(file.path, Probe::Absent);
    observed.units.insert(
        "kubelet.service".to_owned(),
        Probe::Seen(UnitSeen::default()),
    );

    // Before that where others wait to be joined, and nobody has to decide whose the name is.
    observed.etcd_data = Probe::Absent;
    for (row, runs) in [("b cp2 b l100", true), ("b own b 100", false)] {
        observed.members = Probe::Seen(members(&["c cp3 c 100", row]));
        let acts = matches!(kubelet(&observed), Verdict::Act { .. });
        assert_eq!(acts, runs, "{row}");
    }
    // An API server that does not answer would be asked again too late.
    observed.node = Probe::Unreadable("no answer yet".to_owned());
    observed.members = Probe::Seen(members(&["c cp3 c 100"]));
    assert_eq!(kubelet(&observed), waits);
    // Nor where a node of this name is at another machine's address.
    observed.members = Probe::Seen(members(&["c cp3 c 100"]));
    observed.addresses = vec!["192.0.2.9".parse().unwrap()];
    for (at, runs) in [("192.0.2.9", true), ("192.0.2.8", false)] {
        let mut node = NodeSeen::default();
        node.known_by.addresses.insert(at.parse().unwrap());
        observed.node = Probe::Seen(node);
        let acts = matches!(kubelet(&observed), Verdict::Act { .. });
        assert_eq!(acts, runs, "{at}");
    }

    // One that keeps to the API server beside it would ask in vain.
    observed.node = Probe::Absent;
    assert!(matches!(kubelet(&observed), Verdict::Act { .. }));
    let keeps = super::super::tests::desired_of(DOCUMENT);
    let judged = verdict(Stage::Kubelet, &keeps, &observed, 0).unwrap();
    assert_eq!(judged, waits);
}
