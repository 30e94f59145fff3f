use std::time::UNIX_EPOCH;

use super::*;
use crate::action::Action;
use crate::desired::Desired;
use crate::facts::HostFacts;
use crate::observed::{KnownBy, NodeSeen, Observed, PeerSeen};
use crate::stages::{Stage, verdict};
use crate::verdict::Verdict;

const DOCUMENT: &str =
    include_str!("../../config/tests/documents/accepted/controlplane-with-secrets.yaml");
const NOW: i64 = 1_800_000_000;

/// A control plane with a virtual IP, and a name that its API server is called by.
fn desired() -> Desired {
    let words = "cluster:\n  virtualIP: {address: 10.0.2.100, routerID: 7}\n  \
        apiServer: {certSANs: [api.example.org]}\n";
    let document = DOCUMENT.replacen("cluster:\n", words, 1);
    let document = document.replacen("hostname: w1", "hostname: cp1", 1);
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let facts = HostFacts::at("10.0.2.15".parse().unwrap());
    let secrets = bundle.secrets.unwrap();
    Desired::new(&bundle.config, &secrets, &facts, Some(UNIX_EPOCH), None)
}

fn known_by(words: &[&str]) -> KnownBy {
    let mut known = KnownBy::default();
    for word in words {
        match word.parse() {
            Ok(ip) => drop(known.addresses.insert(ip)),
            Err(_) => drop(known.names.insert((*word).to_owned())),
        }
    }
    known
}

fn peer(name: &str, control_plane: bool, words: &[&str]) -> PeerSeen {
    PeerSeen {
        name: name.to_owned(),
        control_plane,
        known_by: known_by(words),
        ..PeerSeen::default()
    }
}

/// The nodes that are there, w1 first.
struct Seen {
    desired: Desired,
    own: NodeSeen,
    peers: Vec<PeerSeen>,
}

impl Seen {
    fn new() -> Self {
        let desired = desired();
        let own = NodeSeen {
            known_by: known_by(&[&desired.hostname, "10.0.2.15"]),
            ..NodeSeen::default()
        };
        let w1 = ["w1", "w1.example.org", "10.0.2.16", "fd00::16"];
        let peers = vec![
            peer("w1", false, &w1),
            peer("w2", false, &["w2", "10.0.2.17"]),
            peer("cp2", true, &["cp2", "10.0.2.18"]),
        ];
        Self {
            desired,
            own,
            peers,
        }
    }

    /// w1 says of itself.
    fn says(mut self, words: &[&str]) -> Self {
        self.peers[0].known_by = known_by(words);
        self
    }

    fn judged(&self, request: &ServingRequest) -> Result<String, Left> {
        let cluster = Cluster::new(&self.desired, Some(&self.own), &self.peers);
        request.judged(&cluster).map(str::to_owned)
    }

    fn planned(&self, requests: Vec<ServingRequest>) -> Observed {
        Observed {
            serving: Probe::Seen(requests),
            node: Probe::Seen(self.own.clone()),
            peers: Probe::Seen(self.peers.clone()),
            ..Observed::default()
        }
    }
}

fn asking(node: &str, words: &[&str]) -> ServingRequest {
    let known = known_by(words);
    let asks = RequestFacts {
        common_names: vec![format!("{USER}{node}")],
        organizations: vec![GROUP.to_owned()],
        dns: known.names,
        ips: known.addresses,
    };
    let usages = ["digital signature", "key encipherment", "server auth"];
    ServingRequest {
        name: "csr-1".to_owned(),
        uid: "1".to_owned(),
        username: format!("{USER}{node}"),
        groups: [GROUP, "system:authenticated"].map(str::to_owned).into(),
        usages: usages.map(str::to_owned).into(),
        asks: Probe::Seen(asks),
        made: NOW - 3600,
    }
}

fn right() -> ServingRequest {
    asking("w1", &["w1", "10.0.2.16", "fd00::16"])
}

fn asks(request: &mut ServingRequest) -> &mut RequestFacts {
    match &mut request.asks {
        Probe::Seen(asks) => asks,
        other => panic!("{other:?}"),
    }
}

fn name(request: &mut ServingRequest, name: &str) {
    asks(request).dns.insert(name.to_owned());
}

#[test]
fn a_node_is_given_its_own_names() {
    let seen = Seen::new();
    let name = seen.desired.hostname.clone();
    for (node, words) in [
        ("w1", &["w1", "10.0.2.16", "fd00::16"][..]),
        ("w1", &["w1"]),
        ("w1", &["10.0.2.16"]),
        ("w1", &["w1.example.org"]),
        ("w1", &["W1.example.org"]),
        ("cp2", &["cp2", "10.0.2.18"]),
        // What is kept from others is this machine's own.
        (&name, &[&name, "10.0.2.15"]),
    ] {
        let judged = seen.judged(&asking(node, words));
        assert_eq!(judged, Ok(node.to_owned()), "{words:?}");
    }
    let mut ecdsa = right();
    ecdsa.usages.remove(1);
    assert!(seen.judged(&ecdsa).is_ok());
}

#[test]
fn anything_else_is_left_alone_for_good() {
    type Change = fn(&mut ServingRequest);
    let table: [(Change, &str); 18] = [
        (
            |r| r.username = "alice".to_owned(),
            "who made it is no node",
        ),
        (|r| r.username = USER.to_owned(), "who made it is no node"),
        (|r| r.groups.clear(), "who made it is no node"),
        // Another node's name, in one place or the other.
        (
            |r| r.username = "system:node:w2".to_owned(),
            "its subject is CN system:node:w1, O",
        ),
        (
            |r| asks(r).common_names = vec!["system:node:w2".to_owned()],
            "its subject is CN system:node:w2, O",
        ),
        (
            |r| asks(r).common_names.push("system:node:w2".to_owned()),
            "its subject is CN system:node:w1 and system:node:w2, O",
        ),
        (
            |r| asks(r).organizations.push("system:masters".to_owned()),
            "its subject is CN system:node:w1, O system:nodes and system:masters",
        ),
        (
            |r| asks(r).organizations.clear(),
            "its subject is CN system:node:w1, O ,",
        ),
        (
            |r| r.usages.push("client auth".to_owned()),
            "it is to be used for client auth",
        ),
        (
            |r| drop(r.usages.remove(2)),
            "it is not to be used for server auth",
        ),
        (
            |r| drop(r.usages.remove(0)),
            "it is not to be used for digital signature",
        ),
        (
            |r| *asks(r) = asks(&mut asking("w1", &[])).clone(),
            "it asks for no name and no address",
        ),
        (|r| r.asks = Probe::Unreadable("cut".to_owned()), "cut"),
        (
            |r| name(r, "*.example.org"),
            "*.example.org is no plain name",
        ),
        (|r| name(r, "w1."), "w1. is no plain name"),
        (|r| name(r, ""), " is no plain name"),
        (|r| name(r, "10.0.2.16"), "10.0.2.16 is no plain name"),
        (|r| name(r, "a\u{1b}[2J\n"), "a [2J  is no plain name"),
    ];
    // Whatever the node says of itself.
    let seen = Seen::new().says(&["w1", "10.0.2.16", "fd00::16", "*.example.org", "w1.", ""]);
    for (change, expected) in table {
        let mut request = right();
        change(&mut request);
        let left = seen.judged(&request).unwrap_err();
        assert!(left.why.starts_with(expected), "{expected}: {}", left.why);
        assert!(left.for_good, "{expected}");
    }
}

#[test]
fn a_node_is_not_believed_what_is_anothers() {
    let service = "kubernetes.default.svc.cluster.local";
    // What w1 says of itself, and asks for.
    for (words, expected) in [
        (&["kubernetes"][..], "kubernetes is the cluster's own"),
        (
            &["kubernetes.default.svc"],
            "kubernetes.default.svc is the cluster's own",
        ),
        (&[service], "kubernetes.default.svc.cluster.local is the"),
        (&["hook.apps.svc"], "hook.apps.svc is the cluster's own"),
        (&["api.example.org"], "api.example.org is the cluster's own"),
        (&["API.example.ORG"], "API.example.ORG is the cluster's own"),
        (&["localhost"], "localhost is the cluster's own"),
        (&["10.0.2.100"], "10.0.2.100 is the cluster's own"),
        (&["10.96.0.1"], "10.96.0.1 is the cluster's own"),
        (&["10.111.0.9"], "10.111.0.9 is the cluster's own"),
        (&["10.244.3.9"], "10.244.3.9 is the cluster's own"),
        (&["127.0.0.1"], "127.0.0.1 is the cluster's own"),
        (&["::1"], "::1 is the cluster's own"),
        (&["10.0.2.15"], "10.0.2.15 is the cluster's own"),
        (&["10.0.2.17"], "10.0.2.17 is node w2's too"),
        (&["10.0.2.18"], "10.0.2.18 is node cp2's too"),
        (&["w2"], "w2 is node w2's too"),
        (&["cp2"], "cp2 is node cp2's too"),
    ] {
        let small: Vec<_> = words.iter().map(|word| word.to_lowercase()).collect();
        let small: Vec<_> = small.iter().map(String::as_str).collect();
        let seen = Seen::new().says(&small);
        let left = seen.judged(&asking("w1", words)).unwrap_err();
        assert!(left.why.starts_with(expected), "{words:?}: {}", left.why);
        let unsaid = Seen::new().judged(&asking("w1", words)).unwrap_err();
        assert!(unsaid.why.contains(" of that node"), "{}", unsaid.why);
    }
    // Who joins chooses his node's name.
    for name in [
        "kubernetes",
        "kubernetes.default.svc",
        "localhost",
        "api.example.org",
    ] {
        let mut seen = Seen::new();
        seen.peers.push(peer(name, false, &[name]));
        let left = seen.judged(&asking(name, &[name])).unwrap_err();
        assert!(left.why.ends_with("is the cluster's own"), "{}", left.why);
    }
}

#[test]
fn a_node_keeps_its_name_and_a_control_plane_all_it_has_whatever_others_say() {
    // w2 says that it is w1 and cp2.
    let mut seen = Seen::new();
    seen.peers[1].known_by = known_by(&["w1", "w1.example.org", "cp2", "10.0.2.16", "10.0.2.18"]);
    assert!(seen.judged(&asking("w1", &["w1"])).is_ok());
    assert!(seen.judged(&asking("cp2", &["cp2", "10.0.2.18"])).is_ok());
    for (words, expected) in [
        (["10.0.2.16"], "10.0.2.16 is node w2's too"),
        (["w1.example.org"], "w1.example.org is node w2's too"),
    ] {
        let left = seen.judged(&asking("w1", &words)).unwrap_err();
        assert_eq!(left.why, expected);
    }
    // A worker that took a name which a control plane has.
    seen.peers[2].known_by = known_by(&["cp2", "w1"]);
    let left = seen.judged(&asking("w1", &["w1"])).unwrap_err();
    assert_eq!(left.why, "w1 is node cp2's too");
}

fn actions(observed: &Observed, desired: &Desired, now: i64) -> Vec<Action> {
    match verdict(Stage::Serving, desired, observed, now).unwrap() {
        Verdict::Act { actions } => actions,
        Verdict::Settled => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn words(actions: &[Action]) -> Vec<String> {
    actions.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_right_is_approved_and_the_rest_is_said_once() {
    let seen = Seen::new();
    let mut early = asking("w9", &["w9"]);
    let mut alice = right();
    (early.made, alice.username) = (NOW, "alice".to_owned());
    let again = ServingRequest {
        name: "csr-2".to_owned(),
        ..alice.clone()
    };
    let mut observed = seen.planned(vec![alice, again, early, right()]);
    let all = actions(&observed, &seen.desired, NOW);
    let said = "leave certificate request csr-1 of alice alone: who made it is no node";
    let approve = "approve certificate request csr-1: node w1 serves with it";
    assert_eq!(words(&all), [approve, said]);
    assert!(matches!(&all[0], Action::ApproveServing { uid, .. } if uid == "1"));
    for action in all {
        if let Action::TellServing { whom, why, .. } = action {
            observed.serving_told.entry(whom).or_default().insert(why);
        }
    }
    assert_eq!(words(&actions(&observed, &seen.desired, NOW)), [approve]);
    // A node that was not there yet may come; when it has not, that is said.
    let later = actions(&observed, &seen.desired, NOW + 60);
    let said = "leave certificate request csr-1 of node w9 alone: there is no such node";
    assert_eq!(words(&later), [approve, said]);
}

#[test]
fn who_asks_too_much_does_not_fill_the_events_or_hold_up_the_look() {
    let seen = Seen::new();
    let named = |n: usize| format!("host-{n}");
    let wrong = (0..100).map(|n| asking("w1", &[&named(n)]));
    let right = (0..100).map(|_| right());
    let observed = seen.planned(wrong.chain(right).collect());
    let all = actions(&observed, &seen.desired, NOW);
    let approved = |action: &&Action| matches!(action, Action::ApproveServing { .. });
    assert_eq!(all.iter().filter(approved).count(), 16);
    assert_eq!(all.len(), 16 + 8);
}

#[test]
fn without_the_nodes_or_on_a_worker_nothing_is_decided() {
    let seen = Seen::new();
    let full = seen.planned(vec![right(), asking("w9", &["w9"])]);
    assert_eq!(actions(&full, &seen.desired, NOW).len(), 2);
    let silent = || Probe::Unreadable("silent".to_owned());
    let changes: [fn(&mut Observed); 4] = [
        |o| o.peers = Probe::Unreadable("silent".to_owned()),
        |o| o.peers = Probe::Absent,
        |o| o.node = Probe::Unreadable("silent".to_owned()),
        |o| o.serving = Probe::Absent,
    ];
    for change in changes {
        let mut observed = full.clone();
        change(&mut observed);
        assert_eq!(actions(&observed, &seen.desired, NOW), []);
    }
    let unread = Observed {
        serving: silent(),
        ..full.clone()
    };
    assert_eq!(actions(&unread, &seen.desired, NOW), []);
    let mut worker = desired();
    worker.role = machine_config::Role::Worker;
    assert_eq!(actions(&full, &worker, NOW), []);
}
