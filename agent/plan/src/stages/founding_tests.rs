use super::super::etcd::tests::said;
use super::super::tests::{DOCUMENT, NOW, desired, desired_of, fresh, peer, settle};
use crate::action::Action;
use crate::desired::Desired;
use crate::membership::{Member, MemberId};
use crate::observed::{NodeSeen, Observed, PeerSeen, Probe};
use crate::stages::{Stage, plan, verdict};
use crate::verdict::Verdict;

/// The founder's machine as its API server begins to answer: its node has no subnet yet, and there is no
/// controller manager.
fn founding(desired: &Desired) -> Observed {
    let mut observed = Observed {
        bootstrap_ordered: true,
        peers: Probe::Seen(Vec::new()),
        ..fresh(desired)
    };
    assert!(settle(desired, &mut observed, 0).settled());
    for file in &desired.controllers {
        observed.files.remove(&file.path);
    }
    Observed {
        bootstrap_ordered: true,
        bootstrap_done: false,
        node: Probe::Seen(NodeSeen {
            registered: NOW - 3,
            ..NodeSeen::default()
        }),
        ..observed
    }
}

/// Of a document that turns this of the controller manager off.
fn desired_without(argument: &str) -> Desired {
    let args = format!("{{extraArgs: [{{name: {argument}, value: \"false\"}}]}}");
    let words = format!("cluster:\n  controllerManager: {args}\n");
    desired_of(&DOCUMENT.replacen("cluster:\n", &words, 1))
}

fn given(desired: &Desired, observed: &Observed) -> Vec<String> {
    let verdict = verdict(Stage::Network, desired, observed, NOW).unwrap();
    let Verdict::Act { actions } = verdict else {
        return Vec::new();
    };
    let assigned = actions.iter().filter_map(|action| match action {
        Action::AssignPodCidrs { name, cidrs } => Some(format!("{name} {}", cidrs[0])),
        _ => None,
    });
    assigned.collect()
}

fn without(name: &str, address: &str) -> PeerSeen {
    PeerSeen {
        pod_cidrs: Vec::new(),
        ..peer(name, address, "10.244.0.0/24")
    }
}

fn member(id: u64, address: &str) -> Member {
    Member {
        id: MemberId(id),
        name: format!("cp{id}"),
        peer_urls: vec![format!("https://{address}:2380")],
        learner: false,
        leader: id == 1,
        applied: Probe::Absent,
    }
}

#[test]
fn the_founder_gives_subnets_until_its_controller_manager_does() {
    let desired = desired();
    let own = &desired.hostname;
    let mut observed = founding(&desired);
    assert_eq!(given(&desired, &observed), [format!("{own} 10.244.0.0/24")]);
    // Before anything that lets others join.
    assert_eq!(
        plan(&desired, &observed, NOW).verdict(Stage::Cluster),
        Some(&Verdict::Held { by: Stage::Network })
    );
    // Each another, and none that somebody has.
    observed.peers = Probe::Seen(vec![
        without("cp2", "10.0.2.16"),
        peer("cp3", "10.0.2.17", "10.244.1.0/24"),
        without("cp4", "10.0.2.18"),
    ]);
    let all = [
        format!("{own} 10.244.0.0/24"),
        "cp2 10.244.2.0/24".to_owned(),
        "cp4 10.244.3.0/24".to_owned(),
    ];
    assert_eq!(given(&desired, &observed), all);
    // Its own has one, and the order is done: the others' still, for a while.
    let Probe::Seen(node) = &mut observed.node else {
        panic!("a node")
    };
    node.pod_cidrs = vec!["10.244.0.0/24".parse().unwrap()];
    (observed.bootstrap_ordered, observed.bootstrap_done) = (false, true);
    assert_eq!(given(&desired, &observed), all[1..]);
    let later = verdict(Stage::Network, &desired, &observed, NOW + 60).unwrap();
    assert!(!said(&later).contains("assign"), "{later:?}");
    // Another machine's cluster, or a controller manager here.
    let other = Observed {
        bootstrap_done: false,
        ..observed.clone()
    };
    assert!(given(&desired, &other).is_empty());
    let manager = &desired.controllers[0].path;
    let there = Probe::Unreadable("something".to_owned());
    observed.files.insert(manager.clone(), there);
    assert!(given(&desired, &observed).is_empty());
}

#[test]
fn where_no_lease_is_held_only_the_first_node_is_given_one() {
    let desired = desired_without("leader-elect");
    let own = &desired.hostname;
    let mut observed = founding(&desired);
    let first = [format!("{own} 10.244.0.0/24")];
    observed.peers = Probe::Seen(vec![without("cp2", "10.0.2.16")]);
    for (voters, expected) in [(1, &first[..]), (2, &[])] {
        let member = |id| member(id, &format!("10.0.2.{id}"));
        observed.members = Probe::Seen((1..=voters).map(member).collect());
        assert_eq!(given(&desired, &observed), expected);
        let verdict = verdict(Stage::Controllers, &desired, &observed, NOW).unwrap();
        assert!(said(&verdict).starts_with("write"), "{verdict:?}");
    }
}

#[test]
fn the_controller_manager_waits_for_the_first_node() {
    let desired = desired();
    let observed = Observed {
        node: Probe::Absent,
        bootstrap_since: NOW - 10,
        ..founding(&desired)
    };
    let says = |observed: &Observed, now| {
        said(&verdict(Stage::Controllers, &desired, observed, now).unwrap())
    };
    assert!(says(&observed, NOW).contains("this machine's node gets its pod subnets first"));
    // Not for ever, and not in a later boot.
    assert!(says(&observed, NOW + 60).starts_with("write"));
    let done = Observed {
        bootstrap_ordered: false,
        ..observed
    };
    assert!(says(&done, NOW).starts_with("write"));
}

#[test]
fn the_controller_manager_waits_some_seconds_for_control_planes_that_are_named() {
    let named = "cluster:\n  controlPlanes: [10.0.2.15, 10.0.2.16]\n";
    let desired = desired_of(&DOCUMENT.replacen("cluster:\n", named, 1));
    let mut observed = founding(&desired);
    observed.members = Probe::Seen(Vec::new());
    observed.addresses = vec!["10.0.2.15".parse().unwrap()];
    let says = |observed: &Observed, now| {
        said(&verdict(Stage::Controllers, &desired, observed, now).unwrap())
    };
    assert!(says(&observed, NOW).contains("waits for that of 10.0.2.16"));
    // Whoever is not there by then may come tomorrow.
    assert!(says(&observed, NOW + 2).starts_with("write"));
    observed.peers = Probe::Seen(vec![peer("cp2", "10.0.2.16", "10.244.1.0/24")]);
    assert!(says(&observed, NOW).starts_with("write"));
}

#[test]
fn the_controller_manager_waits_a_moment_for_nodes_that_come() {
    let desired = desired();
    let mut observed = founding(&desired);
    let says = |observed: &Observed, now| {
        said(&verdict(Stage::Controllers, &desired, observed, now).unwrap())
    };
    let own = desired.etcd_peer_url.clone();
    let alone = Member {
        peer_urls: vec![own],
        ..member(1, "10.0.2.15")
    };
    let waits = "nodes that come now get their pod subnets first: waits for that of cp2";
    observed.members = Probe::Seen(vec![alone.clone()]);
    assert!(says(&observed, NOW).starts_with("write"), "nobody comes");
    assert!(says(&observed, NOW - 2).contains("waits a moment for any"));
    // A member that is no node yet, or one without a subnet.
    observed.members = Probe::Seen(vec![alone, member(2, "10.0.2.16")]);
    assert!(says(&observed, NOW).contains(waits));
    observed.peers = Probe::Seen(vec![without("cp2", "10.0.2.16")]);
    assert!(says(&observed, NOW).contains(waits));
    for (now, peers) in [
        // It has it, or does not come in time. A clock that went back is no reason to wait.
        (NOW, vec![peer("cp2", "10.0.2.16", "10.244.1.0/24")]),
        (NOW + 60, Vec::new()),
        (NOW - 60, Vec::new()),
    ] {
        observed.peers = Probe::Seen(peers);
        assert!(says(&observed, now).starts_with("write"), "{now}");
    }
}
