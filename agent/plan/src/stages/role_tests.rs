//! Machines of role `etcd`, and control planes whose etcd is on such machines.

use machine_config::Role;

use super::tests::{NOW, settle};
use super::*;
use crate::facts::HostFacts;
use crate::membership::{Member, MemberId};
use crate::observed::Probe;

const MACHINE: &str = include_str!("../../../config/tests/documents/accepted/etcd-machine.yaml");
const APART: &str = include_str!("../../../config/tests/documents/accepted/etcd-members.yaml");
const OWN: &str = "https://10.0.2.21:2380";

fn desired(document: &str, control_planes: &[&str]) -> Desired {
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let address = |ip: &&str| ip.parse().unwrap();
    let facts = HostFacts {
        control_planes: control_planes.iter().map(address).collect(),
        ..HostFacts::at("10.0.2.21".parse().unwrap())
    };
    let secrets = bundle.secrets.unwrap();
    Desired::new(&bundle.config, &secrets, &facts, None, None)
}

fn fresh(desired: &Desired) -> Observed {
    Observed {
        node_ip: Probe::Seen("10.0.2.21".parse().unwrap()),
        ..tests::fresh(desired)
    }
}

fn settled(desired: &Desired, observed: &mut Observed) -> Plan {
    settle(desired, observed, 0)
}

fn member(answers: bool) -> Member {
    Member {
        id: MemberId(7),
        name: "etcd1".to_owned(),
        peer_urls: vec![OWN.to_owned()],
        learner: false,
        leader: answers,
        applied: match answers {
            true => Probe::Seen(9),
            false => Probe::Unreadable("silent".to_owned()),
        },
    }
}

fn blocked(plan: &Plan, stage: Stage) -> (String, String) {
    match plan.verdict(stage) {
        Some(Verdict::Blocked { reason, next_step }) => {
            (reason.clone(), next_step.clone().unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_runs_etcd_and_nothing_of_kubernetes() {
    let desired = desired(MACHINE, &[]);
    assert_eq!(desired.role, Role::Etcd);
    let leaves: Vec<_> = desired.leaves.iter().map(|leaf| leaf.name).collect();
    assert_eq!(
        leaves,
        ["etcd/server", "etcd/peer", "etcd/healthcheck-client"]
    );
    let keys = desired.files().filter(|file| file.content.is_secret());
    assert_eq!(keys.count(), 0, "no authority's key is a file");
    let etcd = desired.etcd.as_ref().unwrap();
    assert!(etcd.path == crate::render::ETCD_ARGUMENTS && desired.etcd_unit);
    assert!(
        etcd.content
            .expose()
            .contains("--quota-backend-bytes=4294967296")
    );
    let paths: Vec<_> = desired.files().map(|file| file.path.as_str()).collect();
    for of_kubernetes in [
        "/manifests/",
        "kubelet",
        "containerd",
        "haproxy",
        "cni",
        ".conf.d",
    ] {
        assert!(
            !paths.iter().any(|path| path.contains(of_kubernetes)),
            "{paths:?}"
        );
    }
    let units: Vec<_> = desired.unit_names().collect();
    assert!(units.contains(&crate::desired::ETCD));
    assert!(!units.contains(&"kubelet.service") && !units.contains(&"containerd.service"));
    assert!(desired.api_server.is_none() && desired.controllers.is_empty());
    assert!(desired.objects.is_empty() && desired.cni(&[]).is_none());
}

#[test]
fn it_begins_by_order_alone_and_is_done_when_its_member_serves() {
    let desired = desired(MACHINE, &[]);
    let mut observed = fresh(&desired);
    let waits = settled(&desired, &mut observed);
    let (reason, next) = blocked(&waits, Stage::Etcd);
    assert!(
        reason.contains("waiting for the bootstrap order"),
        "{reason}"
    );
    assert!(next.starts_with("machinectl bootstrap, on exactly one machine of role etcd"));
    let others = [
        Stage::Host,
        Stage::Firewall,
        Stage::Certs,
        Stage::Runtime,
        Stage::Endpoint,
        Stage::Kubelet,
        Stage::Node,
        Stage::Network,
        Stage::Ready,
        Stage::Routes,
        Stage::Turn,
    ];
    for stage in others {
        assert_eq!(waits.verdict(stage), Some(&Verdict::Settled), "{stage:?}");
    }
    // Whoever is silent may be a cluster: it is told, and nothing is begun.
    observed.members = Probe::Unreadable("10.0.2.22: no route".to_owned());
    let (reason, _) = blocked(&plan(&desired, &observed, NOW), Stage::Etcd);
    assert!(reason.contains("10.0.2.22: no route"), "{reason}");
    let lost = Observed {
        bootstrap_done: true,
        ..observed.clone()
    };
    let (reason, _) = blocked(&plan(&desired, &lost, NOW), Stage::Etcd);
    assert!(
        reason.contains("will not start a second cluster"),
        "{reason}"
    );

    // While it founds a cluster nobody else is asked.
    (observed.bootstrap_ordered, observed.members) = (true, Probe::Absent);
    let started = settled(&desired, &mut observed);
    let unit = observed
        .units
        .get(crate::desired::ETCD)
        .and_then(Probe::seen);
    assert_eq!(unit.map(|unit| unit.active_state.as_str()), Some("active"));
    let (reason, _) = blocked(&started, Stage::Cluster);
    assert_eq!(reason, "etcd does not serve yet");
    observed.etcd_data = Probe::Seen(());
    observed.members = Probe::Seen(vec![member(false)]);
    settled(&desired, &mut observed);
    assert!(
        observed.bootstrap_ordered,
        "it is listed, and does not serve"
    );
    observed.members = Probe::Seen(vec![member(true)]);
    let end = settled(&desired, &mut observed);
    assert!(end.settled() && observed.bootstrap_done, "{end:?}");
    assert!(observed.membership.seen().is_some_and(|kept| kept.voter));
}

#[test]
fn it_joins_where_its_document_says_that_others_are() {
    let desired = desired(MACHINE, &[]);
    let mut observed = fresh(&desired);
    settled(&desired, &mut observed);
    let other = Member {
        id: MemberId(8),
        name: "etcd2".to_owned(),
        peer_urls: vec!["https://10.0.2.22:2380".to_owned()],
        ..member(true)
    };
    observed.members = Probe::Seen(vec![other.clone()]);
    let now = plan(&desired, &observed, NOW);
    let Some(Verdict::Act { actions }) = now.verdict(Stage::Etcd) else {
        panic!("{now:?}")
    };
    let join = Action::JoinEtcd {
        name: "etcd1".to_owned(),
        peer_url: OWN.to_owned(),
    };
    assert_eq!(actions, &[join]);
    // It was a member, and its disk is gone: taken out first.
    let third = Member {
        id: MemberId(9),
        name: "etcd3".to_owned(),
        peer_urls: vec!["https://10.0.2.23:2380".to_owned()],
        ..member(true)
    };
    observed.members = Probe::Seen(vec![member(false), other, third]);
    let now = plan(&desired, &observed, NOW);
    let Some(Verdict::Act { actions }) = now.verdict(Stage::Etcd) else {
        panic!("{now:?}")
    };
    assert!(matches!(
        actions[..],
        [Action::RemoveMember {
            id: MemberId(7),
            ..
        }]
    ));
}

#[test]
fn a_control_plane_asks_members_on_machines_of_their_own() {
    let apart = desired(APART, &[]);
    assert!(apart.etcd.is_none() && apart.etcd_begun.is_empty() && !apart.etcd_unit);
    let of_etcd = apart
        .leaves
        .iter()
        .filter(|leaf| leaf.name.contains("etcd"));
    let of_etcd: Vec<_> = of_etcd.map(|leaf| leaf.name).collect();
    assert_eq!(of_etcd, ["apiserver-etcd-client"]);
    let api_server = apart.api_server.as_ref().unwrap();
    let servers =
        "--etcd-servers=https://10.0.2.21:2379,https://10.0.2.22:2379,https://[fd00::23]:2379";
    assert!(api_server.content.expose().contains(servers));

    let etcd = |desired: &Desired, observed: &Observed| {
        verdict(Stage::Etcd, desired, observed, 0).unwrap()
    };
    let nothing = Observed::default();
    let Verdict::Blocked { next_step, .. } = etcd(&apart, &nothing) else {
        panic!("an API server would make a cluster nobody ordered")
    };
    assert!(next_step.unwrap().starts_with("machinectl bootstrap"));
    let ordered = Observed {
        bootstrap_ordered: true,
        ..Observed::default()
    };
    let Verdict::Blocked { reason, next_step } = etcd(&apart, &ordered) else {
        panic!("it would end again and again")
    };
    let told = "no member of etcd listens at 10.0.2.21, 10.0.2.22, fd00::23";
    assert!(reason.starts_with(told) && next_step.is_none(), "{reason}");
    let listens = Observed {
        etcd_listens: Probe::Seen(()),
        ..ordered.clone()
    };
    let answered = Observed {
        endpoint: Probe::Seen(()),
        ..Observed::default()
    };
    let there = Probe::Unreadable(String::new());
    let begun = Observed {
        files: [(api_server.path.clone(), there)].into(),
        ..ordered.clone()
    };
    for observed in [&listens, &answered, &begun] {
        assert_eq!(etcd(&apart, observed), Verdict::Settled);
    }
    // After a power cut of all at once nobody answers, and nobody is held back.
    let rebooted = desired(APART, &["10.0.2.31"]);
    assert_eq!(etcd(&rebooted, &nothing), Verdict::Settled);
}

#[test]
fn an_etcd_machine_is_not_settled_before_a_member_answers() {
    let machine = desired(MACHINE, &[]);
    let silent = Observed {
        members: Probe::Unreadable("no answer".to_owned()),
        ..Observed::default()
    };
    let members = |desired: &Desired| verdict(Stage::Members, desired, &silent, 0).unwrap();
    let waits = Verdict::wait("no member of etcd answers yet: no answer");
    assert_eq!(members(&machine), waits);
    // A control plane's API server says so.
    assert_eq!(members(&desired(APART, &[])), Verdict::Settled);
}
