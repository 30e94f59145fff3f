use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use machine_pki::inspect;

use super::*;
use crate::facts::HostFacts;
use crate::observed::{FileSeen, LeafSeen, NodeSeen, PeerSeen, Probe, Retire, UnitSeen};

pub(super) const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");
pub(super) const NOW: i64 = 1_800_000_000;

pub(super) fn desired() -> Desired {
    desired_with("")
}

/// With this said of the machine too.
fn desired_with(words: &str) -> Desired {
    desired_of(&DOCUMENT.replacen("machine:\n", &format!("machine:\n{words}"), 1))
}

fn with_etcd_as_a_unit() -> Desired {
    let words = "cluster:\n  etcd: { runAs: unit }\n";
    desired_of(&DOCUMENT.replacen("cluster:\n", words, 1))
}

pub(super) fn desired_of(document: &str) -> Desired {
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let node_ip: IpAddr = "10.0.2.15".parse().unwrap();
    let facts = HostFacts::at(node_ip);
    let facts = HostFacts {
        control_planes: vec![node_ip],
        ..facts
    };
    Desired::new(
        &bundle.config,
        &bundle.secrets.unwrap(),
        &facts,
        Some(UNIX_EPOCH),
        None,
    )
}

/// A fresh machine: units that never ran, no files, no cluster.
pub(super) fn fresh(desired: &Desired) -> Observed {
    let unit = |name: &str| (name.to_owned(), Probe::Seen(UnitSeen::default()));
    Observed {
        hostname: "machined".to_owned(),
        node_ip: Probe::Seen("10.0.2.15".parse().unwrap()),
        units: desired.unit_names().map(unit).collect(),
        routes: Probe::Seen(Vec::new()),
        ..Observed::default()
    }
}

/// The model's hands: what executing an action would make of a look.
fn execute(desired: &Desired, observed: &mut Observed, action: &Action) {
    match action {
        Action::WriteFile { file } => {
            let seen = FileSeen {
                digest: file.digest(),
                mode: file.mode,
            };
            observed.files.insert(file.path.clone(), Probe::Seen(seen));
        }
        Action::RemoveFile { path } => drop(observed.files.remove(path)),
        Action::SetHostname { name } => observed.hostname.clone_from(name),
        Action::IssueLeaf { leaf, .. } => {
            let authority = machine_pki::Authority::generate(leaf.authority, at(NOW)).unwrap();
            let issued = authority.issue(&leaf.request, at(NOW)).unwrap();
            let seen = LeafSeen {
                facts: inspect(&issued.certificate_pem).unwrap(),
                key_matches: true,
                authority_matches: true,
                server: leaf.server().map(str::to_owned),
            };
            observed
                .leaves
                .insert(leaf.name.to_owned(), Probe::Seen(seen));
        }
        Action::ReloadManager => {}
        Action::RestartUnit { unit, inputs }
        | Action::ReloadUnit { unit, inputs }
        | Action::StartUnit { unit, inputs } => {
            let seen = UnitSeen {
                active_state: "active".to_owned(),
                inputs: Some(inputs.clone()),
                ..UnitSeen::default()
            };
            observed.units.insert(unit.clone(), Probe::Seen(seen));
        }
        Action::StopUnit { unit } => {
            observed
                .units
                .insert(unit.clone(), Probe::Seen(UnitSeen::default()));
        }
        Action::ApplyObjects { digest, .. } => observed.applied = Some(digest.clone()),
        Action::UncordonNode { .. } => {
            if let Probe::Seen(node) = &mut observed.node {
                node.cordoned_before = false;
            }
        }
        Action::MarkNode { labels, taints, .. } => {
            if let Probe::Seen(node) = &mut observed.node {
                node.labels.extend(labels.iter().cloned());
                node.taints.extend(taints.iter().cloned());
            }
        }
        Action::AssignPodCidrs { name, cidrs } => {
            if let Probe::Seen(node) = &mut observed.node
                && *name == desired.hostname
            {
                node.pod_cidrs.clone_from(cidrs);
            }
            if let Probe::Seen(peers) = &mut observed.peers
                && let Some(peer) = peers.iter_mut().find(|peer| peer.name == *name)
            {
                peer.pod_cidrs.clone_from(cidrs);
            }
        }
        Action::SetRoutes { add, remove } => {
            let Probe::Seen(routes) = &mut observed.routes else {
                panic!("set unseen")
            };
            routes.retain(|have| !remove.contains(have) && !add.iter().any(|a| a.to == have.to));
            routes.extend(add.iter().cloned());
        }
        Action::JoinEtcd { .. }
        | Action::PromoteMember { .. }
        | Action::RemoveMember { .. }
        | Action::KeepControlPlanes { .. }
        | Action::UpdateMember { .. }
        | Action::TakeTurn { .. }
        | Action::GiveTurn { .. }
        | Action::ApproveServing { .. }
        | Action::TellServing { .. }
        | Action::LeaveEtcd { .. }
        | Action::RestoreEtcd { .. }
        | Action::PlaceEtcd { .. }
        | Action::SetEtcdAside { .. }
        | Action::FinishEtcdOrder { .. } => panic!("{action}: this machine is alone"),
        Action::KeepMembership { membership } => {
            observed.membership = Probe::Seen(membership.clone());
        }
        Action::FinishBootstrap => {
            (observed.bootstrap_ordered, observed.bootstrap_done) = (false, true);
        }
    }
    cluster(desired, observed);
}

/// What kubelet and the control plane do by themselves once they can.
fn cluster(desired: &Desired, observed: &mut Observed) {
    let written = |m: &RenderedFile| observed.has_file(&m.path, &m.digest(), m.mode);
    let active = |name: &str| {
        let unit = observed.units.get(name).and_then(Probe::seen);
        unit.is_some_and(|u| u.active_state == "active")
    };
    let serves = desired.etcd.iter().chain(&desired.api_server).all(written);
    let controlled = desired.controllers.iter().all(written);
    let etcd = !desired.etcd_unit || active(crate::desired::ETCD);
    if serves && etcd && active("kubelet.service") {
        observed.etcd_data = Probe::Seen(());
        observed.api_server = Probe::Seen(());
        if observed.node.seen().is_none() {
            observed.node = Probe::Seen(NodeSeen::default());
        }
    }
    if controlled && let Probe::Seen(node) = &mut observed.node {
        node.pod_cidrs = vec!["10.244.0.0/24".parse().unwrap()];
    }
    let network = observed.files.contains_key(crate::desired::CNI_FILE);
    if let Probe::Seen(node) = &mut observed.node {
        node.ready = network;
    }
}

fn at(seconds: i64) -> std::time::SystemTime {
    UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(seconds).unwrap())
}

/// Looks and acts until nothing changes; every `lose`th effect does not happen.
pub(super) fn settle(desired: &Desired, observed: &mut Observed, lose: usize) -> Plan {
    let mut count = 0;
    for _ in 0..200 {
        let now = plan(desired, observed, NOW);
        let mut acted = false;
        for (_, verdict) in &now.stages {
            let Verdict::Act { actions } = verdict else {
                continue;
            };
            for action in actions {
                acted = true;
                count += 1;
                if lose > 0 && count % lose == 0 {
                    break;
                }
                execute(desired, observed, action);
            }
        }
        if !acted {
            return now;
        }
    }
    panic!("it never settles: {:?}", plan(desired, observed, NOW));
}

#[test]
fn without_an_order_nothing_makes_a_cluster() {
    let desired = desired();
    let mut observed = fresh(&desired);
    let end = settle(&desired, &mut observed, 0);
    assert!(matches!(
        end.verdict(Stage::Etcd),
        Some(Verdict::Blocked { .. })
    ));
    assert!(matches!(
        end.verdict(Stage::ControlPlane),
        Some(Verdict::Held { .. })
    ));
    assert!(matches!(
        end.verdict(Stage::Kubelet),
        Some(Verdict::Blocked { .. })
    ));
    assert!(
        !observed
            .files
            .contains_key("/etc/kubernetes/manifests/etcd.yaml")
    );
}

#[test]
fn an_order_leads_to_a_ready_node_also_when_effects_are_lost() {
    for desired in [desired(), with_etcd_as_a_unit()] {
        for lose in [0, 2, 3, 5, 7] {
            let mut observed = Observed {
                bootstrap_ordered: true,
                ..fresh(&desired)
            };
            let end = settle(&desired, &mut observed, lose);
            assert!(end.settled(), "every {lose}th effect lost: {end:?}");
            assert!(observed.bootstrap_done && !observed.bootstrap_ordered);
        }
    }
}

#[test]
fn who_goes_down_ends_its_controllers_and_then_its_api_server_and_never_etcd() {
    let desired = desired();
    let mut observed = Observed {
        bootstrap_ordered: true,
        ..fresh(&desired)
    };
    assert!(settle(&desired, &mut observed, 0).settled());
    let there = |observed: &Observed| -> Vec<String> {
        let manifests = observed.files.keys().filter_map(|path| {
            let name = path.strip_prefix("/etc/kubernetes/manifests/")?;
            Some(name.trim_end_matches(".yaml").to_owned())
        });
        manifests.collect()
    };
    let all = there(&observed);
    assert_eq!(all.len(), 4);
    observed.retire = Retire::Controllers;
    settle(&desired, &mut observed, 0);
    assert_eq!(there(&observed), ["etcd", "kube-apiserver"]);
    observed.retire = Retire::ApiServer;
    settle(&desired, &mut observed, 0);
    assert_eq!(there(&observed), ["etcd"]);
    // Once more, and where one step was left out.
    settle(&desired, &mut observed, 0);
    assert_eq!(there(&observed), ["etcd"]);
    observed.api_server = Probe::Absent;
    // It stays after all, or its agent was killed.
    observed.retire = Retire::Nothing;
    assert!(settle(&desired, &mut observed, 0).settled());
    assert_eq!(there(&observed), all);
}

#[test]
fn what_an_earlier_document_wanted_goes_and_its_readers_are_told() {
    let more = desired_with(
        "  network:\n    interfaces: [{name: eth0, dhcp: true}, {name: eth1, dhcp: true}]\n    \
         nameservers: [192.0.2.1]\n    timeServers: [192.0.2.2]\n",
    );
    let less = desired_with("  network:\n    interfaces: [{name: eth0, dhcp: true}]\n");
    for lose in [0, 2, 3] {
        let mut observed = Observed {
            bootstrap_ordered: true,
            ..fresh(&more)
        };
        assert!(settle(&more, &mut observed, 0).settled());
        let gone = [
            "/etc/systemd/network/10-machined-01.network",
            "/etc/systemd/resolved.conf.d/90-machined.conf",
            "/etc/systemd/timesyncd.conf.d/90-machined.conf",
        ];
        assert!(gone.iter().all(|path| observed.files.contains_key(*path)));
        assert!(settle(&less, &mut observed, lose).settled());
        assert!(!gone.iter().any(|path| observed.files.contains_key(*path)));
        for unit in &less.host {
            let Some(Probe::Seen(seen)) = observed.units.get(unit.name) else {
                panic!("{} is looked at", unit.name)
            };
            assert_eq!(seen.inputs.as_ref(), Some(&unit.inputs), "{}", unit.name);
        }
    }
    // A reader that never had anything to read is left alone.
    let mut observed = fresh(&less);
    settle(&less, &mut observed, 0);
    let resolved = observed.units.get("systemd-resolved.service");
    assert_eq!(resolved, Some(&Probe::Seen(UnitSeen::default())));
}

#[test]
fn every_need_comes_before_who_needs_it() {
    for (index, (stage, needs, _)) in TABLE.iter().enumerate() {
        let earlier = |need| TABLE[..index].iter().any(|(stage, ..)| stage == need);
        assert!(needs.iter().all(earlier), "{stage:?} needs {needs:?}");
    }
}

#[test]
fn a_member_that_lost_its_data_never_starts_a_second_cluster() {
    let desired = desired();
    let mut observed = Observed {
        bootstrap_done: true,
        ..fresh(&desired)
    };
    let end = settle(&desired, &mut observed, 0);
    assert!(
        matches!(end.verdict(Stage::Etcd), Some(Verdict::Blocked { .. })),
        "{end:?}"
    );
    assert!(
        !observed
            .files
            .contains_key("/etc/kubernetes/manifests/etcd.yaml")
    );
}

#[test]
fn what_does_not_answer_takes_no_manifest_away_and_restarts_nothing() {
    let desired = desired();
    let mut observed = Observed {
        bootstrap_ordered: true,
        ..fresh(&desired)
    };
    settle(&desired, &mut observed, 0);
    observed.api_server = Probe::Unreadable("timeout".to_owned());
    observed.node = Probe::Unreadable("timeout".to_owned());
    observed.etcd_data = Probe::Unreadable("I/O error".to_owned());
    let now = plan(&desired, &observed, NOW);
    assert!(
        !now.stages
            .iter()
            .any(|(_, v)| matches!(v, Verdict::Act { .. })),
        "{now:?}"
    );
}

#[test]
fn a_stopped_unit_is_started_and_a_restarting_one_left_alone() {
    let desired = desired();
    let mut observed = Observed {
        bootstrap_ordered: true,
        ..fresh(&desired)
    };
    settle(&desired, &mut observed, 0);
    let set = |observed: &mut Observed, state: &str| {
        let Some(Probe::Seen(unit)) = observed.units.get_mut("kubelet.service") else {
            panic!("kubelet is looked at");
        };
        unit.active_state = state.to_owned();
    };
    set(&mut observed, "failed");
    let now = plan(&desired, &observed, NOW);
    let Some(Verdict::Act { actions }) = now.verdict(Stage::Kubelet) else {
        panic!("{now:?}")
    };
    assert!(
        matches!(actions.as_slice(), [Action::StartUnit { .. }]),
        "{actions:?}"
    );
    set(&mut observed, "activating");
    let now = plan(&desired, &observed, NOW);
    assert!(matches!(
        now.verdict(Stage::Kubelet),
        Some(Verdict::Blocked { .. })
    ));
}

#[test]
fn without_an_address_only_the_host_is_worked_on() {
    let desired = desired();
    let mut observed = Observed {
        node_ip: Probe::Absent,
        ..fresh(&desired)
    };
    let end = settle(&desired, &mut observed, 0);
    assert!(
        matches!(end.verdict(Stage::Host), Some(Verdict::Blocked { .. })),
        "{end:?}"
    );
    assert!(observed.leaves.is_empty());
}

#[test]
fn a_plan_shows_no_secret() {
    let desired = desired();
    let now = plan(&desired, &fresh(&desired), NOW);
    let shown = format!("{now:?}{}", serde_json::to_string(&now).unwrap());
    assert!(!shown.contains("PRIVATE KEY"));
}

pub(super) fn peer(name: &str, address: &str, pods: &str) -> PeerSeen {
    PeerSeen {
        name: name.to_owned(),
        control_plane: false,
        addresses: vec![address.parse().unwrap()],
        pod_cidrs: vec![pods.parse().unwrap()],
        ..PeerSeen::default()
    }
}

fn routes(observed: &Observed) -> Vec<String> {
    let seen = observed.routes.seen().unwrap();
    let mut words: Vec<_> = seen.iter().map(|r| format!("{} {}", r.to, r.via)).collect();
    words.sort();
    words
}

#[test]
fn routes_follow_the_nodes_and_outlive_an_api_that_is_away() {
    let desired = desired();
    let mut observed = Observed {
        bootstrap_ordered: true,
        ..fresh(&desired)
    };
    settle(&desired, &mut observed, 0);
    let this = peer(&desired.hostname, "10.0.2.15", "10.244.0.0/24");
    let (w1, w2) = (
        peer("n1", "10.0.2.16", "10.244.1.0/24"),
        peer("n2", "10.0.2.17", "10.244.2.0/24"),
    );
    // It may not draw other traffic than pods'.
    let liar = peer("n3", "10.0.2.18", "10.96.0.0/24");
    observed.peers = Probe::Seen(vec![this, w1.clone(), w2, liar]);
    for lose in [0, 2] {
        assert!(settle(&desired, &mut observed, lose).settled());
    }
    let both = ["10.244.1.0/24 10.0.2.16", "10.244.2.0/24 10.0.2.17"];
    assert_eq!(routes(&observed), both);

    observed.peers = Probe::Unreadable("timeout".to_owned());
    let end = settle(&desired, &mut observed, 0);
    assert!(!end.settled(), "{end:?}");
    assert_eq!(end.verdict(Stage::Ready), Some(&Verdict::Settled));
    assert_eq!(routes(&observed), both);

    let moved = peer("n1", "10.0.2.20", "10.244.1.0/24");
    observed.peers = Probe::Seen(vec![moved]);
    assert!(settle(&desired, &mut observed, 0).settled());
    assert_eq!(routes(&observed), ["10.244.1.0/24 10.0.2.20"]);
}

#[test]
fn routes_lead_through_a_nodes_address_of_the_same_family() {
    let words = "  networking: {podSubnet: \"10.244.0.0/16,fd44::/56\", \
        serviceSubnet: \"10.96.0.0/16,fd96::/112\"}\n";
    let document = DOCUMENT.replacen("cluster:\n", &format!("cluster:\n{words}"), 1);
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let facts = HostFacts::at("10.0.2.15".parse().unwrap());
    let secrets = bundle.secrets.unwrap();
    let desired = Desired::new(&bundle.config, &secrets, &facts, Some(UNIX_EPOCH), None);
    let pods: [_; 2] = ["10.244.1.0/24", "fd44:0:0:1::/64"].map(|net| net.parse().unwrap());
    let node = |addresses: &[&str]| PeerSeen {
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        pod_cidrs: pods.into(),
        ..peer("n1", "10.0.2.16", "10.244.1.0/24")
    };
    let mut observed = fresh(&desired);
    let mut added = |peer: PeerSeen| {
        observed.peers = Probe::Seen(vec![peer]);
        match verdict(Stage::Routes, &desired, &observed, NOW) {
            Some(Verdict::Act { actions }) => match actions.as_slice() {
                [Action::SetRoutes { add, .. }] => add
                    .iter()
                    .map(|route| format!("{} {}", route.to, route.via))
                    .collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let both = added(node(&["10.0.2.16", "fd00:2::16"]));
    let (v4, v6) = ("10.244.1.0/24 10.0.2.16", "fd44:0:0:1::/64 fd00:2::16");
    assert_eq!(both, [v4, v6]);
    assert_eq!(added(node(&["fd00:2::16", "10.0.2.16"])), [v4, v6]);
    assert_eq!(added(node(&["10.0.2.16"])), [v4]);
}

#[test]
fn a_node_that_went_down_on_purpose_is_uncordoned_and_anothers_cordon_stays() {
    let desired = desired();
    let mut observed = fresh(&desired);
    observed.bootstrap_ordered = true;
    settle(&desired, &mut observed, 0);
    let Probe::Seen(node) = &mut observed.node else {
        panic!("no node: {:?}", observed.node)
    };
    node.cordoned_before = true;
    let name = desired.hostname.clone();
    let expected = Verdict::act(vec![Action::UncordonNode { name }]);
    let planned = plan(&desired, &observed, NOW);
    assert_eq!(planned.verdict(Stage::Node), Some(&expected));
    settle(&desired, &mut observed, 0);
    let planned = plan(&desired, &observed, NOW);
    assert_eq!(planned.verdict(Stage::Node), Some(&Verdict::Settled));
}

#[test]
fn a_worker_starts_its_kubelet_when_there_is_a_cluster_to_ask() {
    let document = include_str!("../../../config/tests/documents/frozen/v1/worker.yaml");
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let facts = HostFacts {
        node_ip: "10.0.2.15".parse().unwrap(),
        addresses: Vec::new(),
        ..HostFacts::at("10.0.2.15".parse().unwrap())
    };
    let desired = Desired::new(&bundle.config, &bundle.secrets.unwrap(), &facts, None, None);
    let mut observed = fresh(&desired);
    let started = |observed: &Observed| {
        let unit = observed.units.get("kubelet.service").and_then(Probe::seen);
        unit.is_some_and(|unit| unit.active_state == "active")
    };
    let end = settle(&desired, &mut observed, 0);
    assert!(
        matches!(end.verdict(Stage::Kubelet), Some(Verdict::Blocked { .. })),
        "{end:?}"
    );
    assert!(!started(&observed));
    observed.endpoint = Probe::Seen(());
    let end = settle(&desired, &mut observed, 0);
    assert!(
        matches!(end.verdict(Stage::Kubelet), Some(Verdict::Blocked { .. })),
        "its certificate may come any moment: {end:?}"
    );
    observed.kubelet_certificate = Probe::Unreadable("port 50000 is closed".to_owned());
    settle(&desired, &mut observed, 0);
    assert!(started(&observed), "by token");
    // A certificate that comes after all is a reason to start anew, once.
    observed.kubelet_certificate = Probe::Seen(());
    let now = plan(&desired, &observed, NOW);
    let verdict = now.verdict(Stage::Kubelet);
    assert!(matches!(verdict, Some(Verdict::Act { .. })), "{now:?}");
    settle(&desired, &mut observed, 0);
    // It runs, and an endpoint that goes away stops nothing.
    observed.endpoint = Probe::Absent;
    let end = settle(&desired, &mut observed, 0);
    assert_eq!(end.verdict(Stage::Kubelet), Some(&Verdict::Settled));
}

#[test]
fn a_systemd_that_does_not_answer_is_asked_for_nothing() {
    let desired = desired();
    let mut observed = fresh(&desired);
    for _ in 0..2 {
        for stage in [Stage::Host, Stage::Firewall] {
            if let Some(Verdict::Act { actions }) = verdict(stage, &desired, &observed, NOW) {
                actions
                    .iter()
                    .for_each(|a| execute(&desired, &mut observed, a));
            }
        }
    }
    assert_eq!(
        verdict(Stage::Host, &desired, &observed, NOW),
        Some(Verdict::Settled)
    );
    for seen in observed.units.values_mut() {
        *seen = Probe::Unreadable("the bus is away".to_owned());
    }
    for stage in [Stage::Host, Stage::Firewall] {
        let said = verdict(stage, &desired, &observed, NOW);
        let Some(Verdict::Blocked { reason, .. }) = said else {
            panic!("{stage:?}: {said:?}")
        };
        assert!(reason.contains("the bus is away"), "{reason}");
    }
}
