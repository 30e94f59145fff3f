use super::*;
use crate::desired::Desired;
use crate::facts::HostFacts;
use crate::files::RenderedFile;
use crate::membership::{Member, MemberId, Membership};
use crate::observed::{FileSeen, Observed, Restored};
use crate::stages::{Stage, verdict};
use crate::turn::{Turn, TurnSeen};

const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");

fn desired() -> Desired {
    let document = DOCUMENT.replace("hostname: w1", "hostname: own");
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let address = "192.0.2.9".parse().unwrap();
    let facts = HostFacts::at(address);
    Desired::new(&bundle.config, &bundle.secrets.unwrap(), &facts, None, None)
}

fn order(verb: EtcdVerb, done: bool) -> EtcdOrder {
    EtcdOrder {
        version: EtcdOrder::VERSION,
        id: format!("{}-7", verb.word()),
        by: "alice".to_owned(),
        ordered_ms: 7,
        verb,
        done,
    }
}

/// A machine on which all of the control plane runs.
fn running(desired: &Desired, order: EtcdOrder) -> Observed {
    let files = desired.etcd.iter();
    let files = files.chain(&desired.api_server).chain(&desired.controllers);
    let seen = |file: &RenderedFile| {
        let seen = FileSeen {
            digest: file.digest(),
            mode: file.mode,
        };
        (file.path.clone(), Probe::Seen(seen))
    };
    Observed {
        etcd_order: Probe::Seen(order),
        files: files.map(seen).collect(),
        etcd_data: Probe::Seen(()),
        etcd_runs: Probe::Seen(()),
        api_server: Probe::Seen(()),
        ..Observed::default()
    }
}

fn said(observed: &Observed) -> String {
    match verdict(Stage::Etcd, &desired(), observed, 0).unwrap() {
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

/// The same in another's turn.
fn in_turn_of(seen: &Observed, member: u64) -> Observed {
    let turn = Turn {
        version: Turn::VERSION,
        holder: format!("cp{member}"),
        member: MemberId(member),
        purpose: Purpose::RestartEtcd,
        boot: "b".to_owned(),
        since: 0,
        order: None,
    };
    Observed {
        turn: Probe::Seen(TurnSeen { turn, revision: 7 }),
        ..seen.clone()
    }
}

/// What the actions that were said leave behind.
fn done(observed: &mut Observed) {
    let Verdict::Act { actions } = verdict(Stage::Etcd, &desired(), observed, 0).unwrap() else {
        panic!("{}", said(observed));
    };
    for action in actions {
        match action {
            Action::RemoveFile { path } => {
                observed.files.insert(path, Probe::Absent);
            }
            Action::RestoreEtcd { .. } => observed.restored = Restored::Whole,
            Action::PlaceEtcd { .. } => {
                observed.restored = Restored::InPlace;
                observed.membership = Probe::Absent;
                observed.etcd_data = Probe::Seen(());
            }
            Action::SetEtcdAside { .. } => {
                observed.membership = Probe::Absent;
                observed.etcd_data = Probe::Absent;
            }
            Action::FinishEtcdOrder { .. } => {
                if let Probe::Seen(order) = &mut observed.etcd_order {
                    order.done = true;
                }
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_recovery_stops_all_makes_the_new_beside_the_old_and_begins_anew() {
    let source = Source::Snapshot {
        sha256: "0a".to_owned(),
    };
    let mut seen = running(&desired(), order(EtcdVerb::Recover(source), false));
    let first = said(&seen);
    assert!(
        first.contains("kube-apiserver.yaml") && !first.contains("etcd.yaml"),
        "{first}"
    );
    done(&mut seen);
    assert_eq!(
        said(&seen),
        "waits until the API server here has stopped / "
    );
    seen.api_server = Probe::Absent;
    assert_eq!(said(&seen), "remove /etc/kubernetes/manifests/etcd.yaml");
    done(&mut seen);
    assert_eq!(said(&seen), "waits until etcd here has stopped / ");
    seen.etcd_runs = Probe::Unreadable("no".to_owned());
    assert!(said(&seen).starts_with("cannot tell whether etcd here has stopped: no"));
    seen.etcd_runs = Probe::Absent;
    assert_eq!(
        said(&seen),
        "restore etcd member own from a snapshot (recover-7)"
    );
    done(&mut seen);
    assert_eq!(
        said(&seen),
        "put what was restored in the place of etcd's data (recover-7), finish recover-7"
    );
    // Cut short between the two.
    let cut = Observed {
        restored: Restored::InPlace,
        ..seen.clone()
    };
    assert_eq!(said(&cut), "finish recover-7");
    done(&mut seen);
    // From here on it is any member with data.
    assert_eq!(said(&seen), "write /etc/kubernetes/manifests/etcd.yaml");
}

#[test]
fn a_machine_that_leaves_asks_the_others_and_stays_out() {
    let member = |id, name: &str, url: &str, answers| Member {
        id: MemberId(id),
        name: name.to_owned(),
        peer_urls: vec![format!("https://{url}:2380")],
        learner: false,
        leader: false,
        applied: match answers {
            true => Probe::Seen(9),
            false => Probe::Unreadable("silent".to_owned()),
        },
    };
    let three = |last| {
        vec![
            member(1, "own", "192.0.2.9", true),
            member(2, "cp2", "b", true),
            member(3, "cp3", "c", last),
        ]
    };
    let mut seen = running(&desired(), order(EtcdVerb::Leave, false));
    assert!(said(&seen).starts_with("leaves etcd when a member with a vote is known"));
    // Nothing of it is left, and a bootstrap was ordered since: nobody is to be asked.
    let gone = Observed {
        etcd_order: seen.etcd_order.clone(),
        bootstrap_ordered: true,
        ..Observed::default()
    };
    assert_eq!(
        said(&gone),
        "set etcd's data aside (leave-7), finish leave-7"
    );
    let silent = Observed {
        bootstrap_ordered: false,
        ..gone
    };
    assert!(said(&silent).starts_with("leaves etcd when a member with a vote is known"));
    seen.members = Probe::Unreadable("no quorum".to_owned());
    assert!(said(&seen).starts_with("leaves etcd when a member with a vote answers: no quorum"));
    // After a power cut: of two voters the other cannot let it go alone.
    let path = desired().etcd.unwrap().path;
    let manifest = seen.files.insert(path.clone(), Probe::Absent);
    assert_eq!(said(&seen), "write /etc/kubernetes/manifests/etcd.yaml");
    // Its manifest may name an address that the machine has no more: etcd cannot begin by that.
    let other = FileSeen {
        digest: "other".to_owned(),
        mode: 0o600,
    };
    seen.files.insert(path.clone(), Probe::Seen(other));
    assert_eq!(said(&seen), "write /etc/kubernetes/manifests/etcd.yaml");
    seen.files.insert(path, manifest.unwrap());
    let joined = Membership::of(&three(true), MemberId(1), "own", true);
    seen.membership = Probe::Seen(joined);
    seen.members = Probe::Seen(three(false));
    assert!(
        said(&seen).starts_with("cannot leave etcd: without own there are 2 voters of which 1")
    );
    seen.members = Probe::Seen(three(true));
    let take = verdict(Stage::Etcd, &desired(), &seen, 0).unwrap();
    let Verdict::Act { actions } = take else {
        panic!("{take:?}")
    };
    let [Action::TakeTurn { turn, over: None }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(turn.order.as_deref(), Some("leave-7"));
    // Another has its turn, and may need this one's vote to be done with it; without data it has none.
    let other = in_turn_of(&seen, 2);
    assert!(said(&other).starts_with("cannot leave etcd yet: cp2 has the turn"));
    let mut off = other.clone();
    off.files
        .insert(desired().etcd.unwrap().path, Probe::Absent);
    assert_eq!(said(&off), "write /etc/kubernetes/manifests/etcd.yaml");
    off.etcd_data = Probe::Absent;
    assert_eq!(said(&off), "take etcd member own (1) out, by order");
    seen.turn = Probe::Seen(TurnSeen {
        turn: turn.clone(),
        revision: 7,
    });
    assert_eq!(
        said(&seen),
        "keep the turn, to leave etcd, take etcd member own (1) out, by order"
    );
    seen.members = Probe::Seen(three(true).split_off(1));
    done(&mut seen);
    (seen.api_server, seen.etcd_runs) = (Probe::Absent, Probe::Absent);
    done(&mut seen);
    assert_eq!(
        said(&seen),
        "set etcd's data aside (leave-7), finish leave-7"
    );
    done(&mut seen);
    assert_eq!(
        said(&seen),
        "this machine left etcd by order (leave-7) / machinectl etcd join -n own"
    );
}

#[test]
fn a_machine_that_discards_its_data_joins_anew() {
    let mut seen = running(&desired(), order(EtcdVerb::Discard, false));
    for _ in 0..2 {
        done(&mut seen);
        (seen.api_server, seen.etcd_runs) = (Probe::Absent, Probe::Absent);
    }
    // Who founded the cluster, and was away before it could note that: it must not found another.
    let aside = "set etcd's data aside (discard-7), finish discard-7";
    assert_eq!(said(&seen), aside);
    seen.bootstrap_ordered = true;
    assert_eq!(said(&seen), format!("finish bootstrap order, {aside}"));
    seen.bootstrap_ordered = false;
    done(&mut seen);
    seen.members = Probe::Seen(vec![Member {
        id: MemberId(2),
        name: "cp2".to_owned(),
        peer_urls: vec!["https://b:2380".to_owned()],
        learner: false,
        leader: true,
        applied: Probe::Seen(9),
    }]);
    assert_eq!(said(&seen), "add etcd member own as a learner");
    seen.etcd_order = Probe::Unreadable("damaged".to_owned());
    assert!(said(&seen).starts_with("cannot read what was ordered about etcd: damaged"));
}

#[test]
fn who_comes_back_from_before_a_recovery_is_told() {
    let joined = |voter| {
        let own = [Member {
            id: MemberId(1),
            name: "own".to_owned(),
            peer_urls: vec!["https://192.0.2.9:2380".to_owned()],
            learner: false,
            leader: false,
            applied: Probe::Seen(9),
        }];
        Probe::Seen(Membership::of(&own, MemberId(1), "own", voter))
    };
    let member = |id, applied| Member {
        id: MemberId(id),
        name: format!("cp{id}"),
        peer_urls: vec![format!("https://cp{id}:2380")],
        learner: false,
        leader: false,
        applied,
    };
    let next = "machinectl etcd leave --discard -n own";
    for (members, expected) in [
        (
            vec![member(2, Probe::Seen(9))],
            Some("the cluster does not have this machine's member 1 any more"),
        ),
        (
            vec![member(1, Probe::Seen(9)), member(2, Probe::Absent)],
            Some("at the address of member cp2 is one of another cluster"),
        ),
        (
            vec![member(1, Probe::Seen(9)), member(2, Probe::Seen(9))],
            None,
        ),
    ] {
        for voter in [true, false] {
            let seen = Observed {
                etcd_data: Probe::Seen(()),
                membership: joined(voter),
                members: Probe::Seen(members.clone()),
                ..Observed::default()
            };
            let said = said(&seen);
            match expected {
                Some(words) => assert!(said.starts_with(words) && said.contains(next), "{said}"),
                None => assert!(!said.contains(next), "{said}"),
            }
        }
    }
}
