//! The firewall's stage, one look at a time.

use std::time::UNIX_EPOCH;

use crate::action::Action;
use crate::desired::{Desired, FIREWALL};
use crate::facts::HostFacts;
use crate::observed::{FileSeen, Observed, PeerSeen, Probe, UnitSeen};
use crate::stages::{Stage, TABLE, verdict};
use crate::verdict::Verdict;

const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");

fn desired(machine: &str, control_planes: &[&str]) -> Desired {
    let document = DOCUMENT.replacen("machine:\n", &format!("machine:\n{machine}"), 1);
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let facts = HostFacts {
        control_planes: control_planes
            .iter()
            .map(|ip| ip.parse().unwrap())
            .collect(),
        ..HostFacts::at("10.0.2.15".parse().unwrap())
    };
    let secrets = bundle.secrets.unwrap();
    Desired::new(&bundle.config, &secrets, &facts, Some(UNIX_EPOCH), None)
}

fn loaded(desired: &Desired) -> Observed {
    let unit = &desired.firewall;
    let seen = UnitSeen {
        active_state: "active".to_owned(),
        sub_state: "exited".to_owned(),
        inputs: Some(unit.inputs.clone()),
        ..UnitSeen::default()
    };
    let file = |f: &crate::files::RenderedFile| {
        let (digest, mode) = (f.digest(), f.mode);
        (f.path.clone(), Probe::Seen(FileSeen { digest, mode }))
    };
    Observed {
        node_ip: Probe::Seen("10.0.2.15".parse().unwrap()),
        units: [(FIREWALL.to_owned(), Probe::Seen(seen))].into(),
        files: unit.files.iter().map(file).collect(),
        ..Observed::default()
    }
}

fn judged(desired: &Desired, observed: &Observed) -> Vec<String> {
    match verdict(Stage::Firewall, desired, observed, 0).unwrap() {
        Verdict::Settled => Vec::new(),
        Verdict::Act { actions } => actions.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rules_are_written_and_loaded_and_then_replaced_while_they_hold() {
    let (alone, three) = (desired("", &[]), desired("", &["10.9.0.1", "10.9.0.2"]));
    let mut fresh = loaded(&alone);
    fresh.files.clear();
    fresh
        .units
        .insert(FIREWALL.to_owned(), Probe::Seen(UnitSeen::default()));
    let written = "write /etc/nftables.d/machined.nft";
    assert_eq!(
        judged(&alone, &fresh),
        [written, "restart machined-firewall.service"]
    );
    assert_eq!(judged(&alone, &loaded(&alone)), [""; 0]);
    let changed = judged(&three, &loaded(&alone));
    assert_eq!(changed, [written, "reload machined-firewall.service"]);
    // A file that is right says nothing of what the kernel has.
    let mut refused = loaded(&three);
    refused.units = loaded(&alone).units;
    assert_eq!(
        judged(&three, &refused),
        ["reload machined-firewall.service"]
    );
}

#[test]
fn nothing_waits_for_it() {
    let waits = |needs: &&[Stage]| needs.contains(&Stage::Firewall);
    assert!(!TABLE.iter().any(|(_, needs, _)| waits(needs)));
}

#[test]
fn who_keeps_strangers_out_learns_who_is_none() {
    let off = "  network: {firewall: {enabled: false}}\n";
    for (machine, learns) in [("", true), (off, false)] {
        let desired = desired(machine, &["10.0.2.15"]);
        let mut observed = loaded(&desired);
        observed.peers = Probe::Seen(vec![PeerSeen {
            name: "cp2".to_owned(),
            control_plane: true,
            addresses: vec!["10.9.0.1".parse().unwrap()],
            pod_cidrs: Vec::new(),
            ..PeerSeen::default()
        }]);
        let verdict = verdict(Stage::Endpoint, &desired, &observed, 0).unwrap();
        let addresses = vec!["10.0.2.15".parse().unwrap(), "10.9.0.1".parse().unwrap()];
        let keep = Verdict::act(vec![Action::KeepControlPlanes { addresses }]);
        assert_eq!(verdict == keep, learns, "{verdict:?}");
    }
}
