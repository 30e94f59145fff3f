//! The endpoint's stage, one look at a time.

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use crate::action::Action;
use crate::desired::{Desired, LOAD_BALANCER, VIRTUAL_IP};
use crate::facts::HostFacts;
use crate::files::Content;
use crate::membership::{Member, MemberId, Membership};
use crate::observed::{FileSeen, Observed, PeerSeen, Probe, UnitSeen};
use crate::stages::{Stage, verdict};
use crate::verdict::Verdict;

const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn desired(virtual_ip: bool, control_planes: &[&str]) -> Desired {
    desired_as(virtual_ip, control_planes, None)
}

/// The same of a member of etcd that has its vote, or not yet.
fn desired_as(virtual_ip: bool, control_planes: &[&str], voter: Option<bool>) -> Desired {
    let words = "cluster:\n  virtualIP:\n    address: 10.0.2.100\n    routerID: 7\n";
    let mut document = DOCUMENT.to_owned();
    if virtual_ip {
        document = document.replacen("cluster:\n", words, 1);
    }
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let facts = HostFacts {
        interface: Some("eth1".to_owned()),
        control_planes: control_planes.iter().map(|text| ip(text)).collect(),
        ..HostFacts::at(ip("10.0.2.15"))
    };
    let secrets = bundle.secrets.unwrap();
    let joined = voter.map(|voter| Membership::of(&[], MemberId(7), "own", voter));
    let expires = Some(UNIX_EPOCH);
    Desired::new(&bundle.config, &secrets, &facts, expires, joined.as_ref())
}

/// Units of these inputs, running, with their files there.
fn running(desired: &Desired) -> Observed {
    let mut observed = Observed {
        node_ip: Probe::Seen(ip("10.0.2.15")),
        ..Observed::default()
    };
    for unit in desired.units() {
        let seen = UnitSeen {
            active_state: "active".to_owned(),
            inputs: Some(unit.inputs.clone()),
            ..UnitSeen::default()
        };
        observed
            .units
            .insert(unit.name.to_owned(), Probe::Seen(seen));
        for file in &unit.files {
            let seen = FileSeen {
                digest: file.digest(),
                mode: file.mode,
            };
            observed.files.insert(file.path.clone(), Probe::Seen(seen));
        }
    }
    observed
}

fn judged(desired: &Desired, observed: &Observed) -> Verdict {
    verdict(Stage::Endpoint, desired, observed, 0).unwrap()
}

fn words(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Act { actions } => actions.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn peer(name: &str, address: &str, control_plane: bool) -> PeerSeen {
    PeerSeen {
        name: name.to_owned(),
        control_plane,
        addresses: vec![ip("fd00::9"), ip(address)],
        pod_cidrs: Vec::new(),
        ..PeerSeen::default()
    }
}

#[test]
fn control_planes_are_remembered_as_the_cluster_lists_them() {
    let desired = desired(true, &["10.0.2.15"]);
    let mut observed = running(&desired);
    assert_eq!(judged(&desired, &observed), Verdict::Settled);
    observed.peers = Probe::Seen(vec![
        peer("w1", "10.0.2.30", false),
        peer("cp3", "10.0.2.17", true),
        peer("cp2", "10.0.2.16", true),
    ]);
    let told = words(&judged(&desired, &observed));
    let all = "remember control planes 10.0.2.15, 10.0.2.16, 10.0.2.17";
    assert_eq!(told, [all]);
    // A member of etcd is one before its node says so.
    let joining = Member {
        id: MemberId(7),
        name: String::new(),
        peer_urls: vec!["https://10.0.2.18:2380".to_owned()],
        learner: true,
        leader: false,
        applied: Probe::Absent,
    };
    observed.members = Probe::Seen(vec![joining]);
    let told = words(&judged(&desired, &observed));
    assert_eq!(told, [format!("{all}, 10.0.2.18")]);
    // Nobody to ask is no news, but of the members: who is known stays so.
    for silent in [Probe::Absent, Probe::Unreadable("away".to_owned())] {
        observed.peers = silent;
        let told = words(&judged(&desired, &observed));
        assert_eq!(told, ["remember control planes 10.0.2.15, 10.0.2.18"]);
        let nobody = Observed {
            members: Probe::Absent,
            ..observed.clone()
        };
        assert_eq!(judged(&desired, &nobody), Verdict::Settled);
    }
}

#[test]
fn who_joins_asks_the_others_first() {
    let others = ["10.0.2.15", "10.0.2.16"];
    let servers = |joined: Option<bool>, known: &[&str]| {
        let desired = desired_as(true, known, joined);
        let unit = desired.load_balancer.unwrap();
        let Content::Plain(text) = &unit.files[0].content else {
            panic!("no secret")
        };
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("    server "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = [
        "self 10.0.2.15:6443",
        "cp-10-0-2-16 10.0.2.16:6443 backup",
        "last 10.0.2.15:6443 no-check backup",
    ];
    let joins = [
        "self 10.0.2.15:6443 backup",
        "cp-10-0-2-16 10.0.2.16:6443",
        "last 10.0.2.16:6443 no-check backup",
    ];
    assert_eq!(servers(Some(true), &others), first);
    for learner in [None, Some(false)] {
        assert_eq!(servers(learner, &others), joins);
    }
    // The first knows nobody else.
    assert_eq!(servers(None, &others[..1]), [first[0], first[2]]);
}

#[test]
fn what_runs_is_reloaded_and_never_restarted() {
    let before = desired(true, &["10.0.2.15"]);
    let after = desired(true, &["10.0.2.15", "10.0.2.16"]);
    let mut observed = running(&before);
    let told = words(&judged(&after, &observed));
    let write = "write /etc/haproxy/haproxy.cfg";
    assert_eq!(told, [write, &format!("reload {LOAD_BALANCER}")]);

    // One after the other: what the load balancer needs first.
    let units = running(&after);
    let balanced = "/etc/haproxy/haproxy.cfg".to_owned();
    observed
        .files
        .insert(balanced.clone(), units.files[&balanced].clone());
    let unit = LOAD_BALANCER.to_owned();
    observed
        .units
        .insert(unit.clone(), units.units[&unit].clone());
    let told = words(&judged(&after, &observed));
    let write = "write /etc/keepalived/keepalived.conf";
    assert_eq!(told, [write, &format!("reload {VIRTUAL_IP}")]);

    // In a new boot there is nothing to reload.
    let mut booted = running(&after);
    booted.units.insert(unit, Probe::Seen(UnitSeen::default()));
    let told = words(&judged(&after, &booted));
    assert_eq!(told, [format!("restart {LOAD_BALANCER}")]);
}

#[test]
fn a_virtual_ip_that_is_not_wanted_any_more_is_let_go_before_its_files_are() {
    let (before, after) = (
        desired(true, &["10.0.2.15"]),
        desired(false, &["10.0.2.15"]),
    );
    let mut observed = running(&before);
    let plain = running(&after);
    observed.units.extend(plain.units);
    let told = words(&judged(&after, &observed));
    assert_eq!(told[0], format!("stop {VIRTUAL_IP}"));
    assert!(told[1..].iter().all(|word| word.starts_with("remove ")));

    observed.node_ip = Probe::Absent;
    let verdict = judged(&after, &observed);
    assert!(matches!(verdict, Verdict::Blocked { .. }), "{verdict:?}");
}

#[test]
fn only_the_last_words_of_a_plan_touch_what_clients_use() {
    let desired = desired(true, &["10.0.2.15"]);
    let observed = Observed {
        node_ip: Probe::Seen(ip("10.0.2.15")),
        ..running(&desired)
    };
    let mut lost = observed.clone();
    lost.files.remove("/etc/keepalived/keepalived.conf");
    let Verdict::Act { actions } = judged(&desired, &lost) else {
        panic!("a file that is gone is written");
    };
    assert!(matches!(actions[0], Action::WriteFile { .. }));
    assert!(matches!(actions[1], Action::ReloadUnit { .. }));
}
