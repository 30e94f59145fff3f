use super::*;
use crate::desired::Desired;
use crate::facts::HostFacts;
use crate::observed::Observed;
use crate::stages::{Stage, verdict};

const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");
const OWN: &str = "https://192.0.2.9:2380";

fn desired(joined: Option<&Membership>) -> Desired {
    desired_at("192.0.2.9", joined)
}

pub(in crate::stages) fn desired_at(address: &str, joined: Option<&Membership>) -> Desired {
    let document = DOCUMENT.replace("hostname: w1", "hostname: own");
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let address = address.parse().unwrap();
    let facts = HostFacts::at(address);
    Desired::new(
        &bundle.config,
        &bundle.secrets.unwrap(),
        &facts,
        None,
        joined,
    )
}

#[test]
fn with_an_external_etcd_only_the_first_api_server_waits_for_the_order() {
    let document = include_str!("../../../config/tests/documents/accepted/external-etcd.yaml");
    let bundle = machine_config::read(document.as_bytes()).unwrap();
    let secrets = bundle.secrets.unwrap();
    let facts = HostFacts::at("192.0.2.9".parse().unwrap());
    let desired = Desired::new(&bundle.config, &secrets, &facts, None, None);
    assert!(desired.etcd.is_none() && desired.etcd_begun.is_empty());
    assert!(
        desired
            .leaves
            .iter()
            .all(|leaf| !leaf.name.contains("etcd")),
        "nothing that only etcd's authority could sign"
    );
    let key = "/etc/kubernetes/pki/apiserver-etcd-client.key";
    let key = desired.authorities.iter().find(|file| file.path == key);
    assert!(key.is_some_and(|key| key.mode == 0o600 && key.content.is_secret()));
    let api_server = desired.api_server.as_ref().unwrap();
    let servers =
        "--etcd-servers=https://10.0.2.21:2379,https://etcd.example:2379,https://[fd00::21]:12379";
    assert!(api_server.content.expose().contains(servers));

    let fresh = Observed::default();
    let etcd = |desired: &Desired, observed: &Observed| {
        verdict(Stage::Etcd, desired, observed, 0).unwrap()
    };
    let Verdict::Blocked { next_step, .. } = etcd(&desired, &fresh) else {
        panic!("an API server would make a cluster nobody ordered")
    };
    assert!(next_step.unwrap().starts_with("machinectl bootstrap"));
    let answered = Observed {
        endpoint: Probe::Seen(()),
        ..Observed::default()
    };
    let ordered = Observed {
        bootstrap_ordered: true,
        ..Observed::default()
    };
    let begun = Observed {
        files: [(api_server.path.clone(), Probe::Unreadable(String::new()))].into(),
        ..Observed::default()
    };
    for observed in [&answered, &ordered, &begun] {
        assert_eq!(etcd(&desired, observed), Verdict::Settled);
    }
    // After a power cut of all at once nobody answers, and the manifest is gone with the boot.
    let facts = HostFacts {
        control_planes: vec![facts.node_ip],
        ..facts
    };
    let rebooted = Desired::new(&bundle.config, &secrets, &facts, None, None);
    assert_eq!(etcd(&rebooted, &fresh), Verdict::Settled);
    assert_eq!(
        verdict(Stage::Members, &rebooted, &fresh, 0),
        Some(Verdict::Settled)
    );
}

/// "id name url state": `state` is how far its log is, `-` for silence, and `l` before it for a
/// learner.
pub(in crate::stages) fn members(rows: &[&str]) -> Vec<Member> {
    let member = |row: &&str| {
        let words: Vec<_> = row.split(' ').collect();
        let state = words[3].trim_start_matches('l');
        Member {
            id: words[0].parse().unwrap(),
            name: words[1].trim_matches('_').to_owned(),
            peer_urls: vec![match words[2] {
                "own" => OWN.to_owned(),
                host => format!("https://{host}:2380"),
            }],
            learner: words[3].starts_with('l'),
            leader: false,
            applied: match state.parse() {
                Ok(index) => Probe::Seen(index),
                Err(_) => Probe::Unreadable("silent".to_owned()),
            },
        }
    };
    rows.iter().map(member).collect()
}

pub(in crate::stages) fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Act { actions } => actions
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        Verdict::Blocked { reason, next_step } => {
            format!("{reason} / {}", next_step.as_deref().unwrap_or_default())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_machine_without_data_finds_its_place() {
    for (rows, expected) in [
        (&["a cp1 a 100"][..], "add etcd member own as a learner"),
        // One after the other.
        (
            &["a cp1 a 100", "b _ b l-"],
            "waits until https://b:2380 has its vote",
        ),
        (
            &["a cp1 a 100", "b cp2 b l9"],
            "waits until cp2 has its vote",
        ),
        // Cut short between the cluster's answer and the ledger, or begun and lost before its name was
        // heard: it is never begun again.
        (
            &["a cp1 a 100", "b _ own l-"],
            "remove etcd member https://192.0.2.9:2380 (b): this machine does not remember it",
        ),
        // It was a member, and its data is gone.
        (
            &["a cp1 a 100", "b cp2 b 100", "c own own -"],
            "remove etcd member own (c): its data is gone",
        ),
        (
            &["a cp1 a 100", "c own own l-"],
            "remove etcd member own (c): its data is gone",
        ),
        // By another address, or another machine: nobody is taken out by a guess.
        (
            &["a cp1 a 100", "b cp2 b 100", "c own c -"],
            "a machine of the name own at https://c:2380 is a member and does not answer / \
             if that was this machine: machinectl etcd remove c",
        ),
        (
            &["a cp1 a 100", "b cp2 b 100", "c own c 100"],
            "a machine of the name own at https://c:2380 is a member and answers / \
             give this machine another hostname",
        ),
        (
            &["a cp1 a 100", "b cp2 b 100", "c cp3 own -"],
            "this machine's address https://192.0.2.9:2380 is that of member cp3 / \
             if cp3 is gone: machinectl etcd remove c",
        ),
        (
            &["a cp1 a 100", "b cp2 b 100", "c own own 100"],
            "etcd answers here though its data directory is empty / reboot",
        ),
        // Nothing that could cost the quorum, with the numbers.
        (
            &["a cp1 a 100", "b cp2 b -", "c own own -"],
            "this machine's former member cannot be removed: of 3 voters 1 answer, and without 2 \
             nothing can be changed / bring",
        ),
        (
            &["c own own -"],
            "this machine's former member cannot be removed: of 1 voters 0 answer",
        ),
        (
            &["a cp1 a 100", "b cp2 b -", "c cp3 c -"],
            "joins when more members answer: only 1 of 3 voters answer, and with one more 3",
        ),
        (
            &["a cp1 a 100", "b cp2 b 100", "c cp3 c -"],
            "joins when more members answer: only 2 of 3 voters answer, and with one more 3",
        ),
        (
            &["a cp1 a 100", "b cp2 b 100"],
            "add etcd member own as a learner",
        ),
    ] {
        let observed = Observed {
            members: Probe::Seen(members(rows)),
            ..Observed::default()
        };
        let verdict = verdict(Stage::Etcd, &desired(None), &observed, 0).unwrap();
        let said = said(&verdict);
        assert!(said.starts_with(expected), "{rows:?}: {said}");
    }
}

#[test]
fn a_member_begins_as_it_was_added_and_is_promoted_once_it_has_caught_up() {
    let added = members(&["a cp1 a 100", "b _ own l-"]);
    let joined = Membership::of(&added, MemberId(0xb), "own", false).added_in("now");
    let desired = desired(Some(&joined));
    let manifest = desired.etcd.clone().unwrap();
    let told = format!("--initial-cluster=cp1=https://a:2380,own={OWN}");
    assert!(manifest.content.expose().contains(&told));
    assert!(
        manifest
            .content
            .expose()
            .contains("--initial-cluster-state=existing")
    );
    let seen = crate::observed::FileSeen {
        digest: manifest.digest(),
        mode: manifest.mode,
    };
    let there = Probe::Seen(seen);
    for boot in ["before", ""] {
        let observed = Observed {
            boot: boot.to_owned(),
            membership: Probe::Seen(joined.clone()),
            members: Probe::Seen(added.clone()),
            ..Observed::default()
        };
        let said = said(&verdict(Stage::Etcd, &desired, &observed, 0).unwrap());
        let expected =
            "remove etcd member https://192.0.2.9:2380 (b): it was added in another boot";
        assert_eq!(said, expected);
    }
    for (data, written, rows, expected) in [
        (
            false,
            false,
            &["a cp1 a 100", "b _ own l-"][..],
            "write /etc/kubernetes",
        ),
        (
            false,
            true,
            &["a cp1 a 100", "b _ own l-"],
            "etcd starts as a learner",
        ),
        // The members are others by now: etcd would not begin.
        (
            false,
            true,
            &["a cp1 a 100", "d cp2 d 100", "b _ own l-"],
            "remember etcd member b as a learner",
        ),
        // Taken out before it began: it is added anew.
        (
            false,
            true,
            &["a cp1 a 100"],
            "add etcd member own as a learner",
        ),
        // Its data went after it had begun.
        (
            false,
            true,
            &["a cp1 a 100", "b own own l-"],
            "remove etcd member own (b)",
        ),
        (
            true,
            true,
            &["a cp1 a 100", "b own own l89"],
            "etcd catches up",
        ),
        (
            true,
            true,
            &["a cp1 a 100", "b own own l-"],
            "etcd catches up",
        ),
        (
            true,
            true,
            &["a cp1 a 100", "b own own l90"],
            "promote etcd member own (b)",
        ),
        (
            true,
            true,
            &["a cp1 a 100", "b own own 90"],
            "remember etcd member b as a voter",
        ),
        (
            true,
            true,
            &["a cp1 a 100"],
            "the cluster does not have this machine's member b any more / machinectl etcd leave --discard",
        ),
    ] {
        let file = if written {
            there.clone()
        } else {
            Probe::Absent
        };
        let observed = Observed {
            etcd_data: if data { Probe::Seen(()) } else { Probe::Absent },
            boot: "now".to_owned(),
            membership: Probe::Seen(joined.clone()),
            members: Probe::Seen(members(rows)),
            files: [(manifest.path.clone(), file)].into(),
            ..Observed::default()
        };
        let verdict = verdict(Stage::Etcd, &desired, &observed, 0).unwrap();
        if let Verdict::Act { actions } = &verdict
            && let [Action::KeepMembership { membership }] = actions.as_slice()
        {
            let boot = (!membership.voter).then(|| "now".to_owned());
            assert_eq!(membership.boot, boot, "{rows:?}");
        }
        let said = said(&verdict);
        assert!(said.starts_with(expected), "{rows:?}: {said}");
    }
}

#[test]
fn once_it_has_begun_it_is_told_nothing_that_could_begin_again() {
    let desired = desired(None);
    let [first, begun] = desired.etcd_begun.as_slice() else {
        panic!("{:?}", desired.etcd_begun)
    };
    assert_eq!(Some(first), desired.etcd.as_ref());
    let text = begun.content.expose();
    assert!(text.contains("--initial-cluster-state=existing"));
    assert!(text.contains(&format!("--initial-cluster=own={OWN}\n")));
    let seen = |digest: String| {
        Probe::Seen(crate::observed::FileSeen {
            digest,
            mode: first.mode,
        })
    };
    let three = ["a own own 100", "b cp2 b 100", "c cp3 c -"];
    for (file, rows, expected) in [
        // The boot in which it was the first: left as it is.
        (
            seen(first.digest()),
            &three[..1],
            "remember etcd member a as a voter",
        ),
        (seen(first.digest()), &[], "Settled"),
        // Each later one.
        (
            Probe::Absent,
            &three[..1],
            "write /etc/kubernetes/manifests/etcd.yaml",
        ),
        (
            Probe::Absent,
            &three,
            "write /etc/kubernetes/manifests/etcd.yaml",
        ),
        // Other arguments.
        (
            seen("other".to_owned()),
            &three[..1],
            "write /etc/kubernetes/manifests/etcd.yaml",
        ),
        // Either of two is the quorum: it waits only for both to answer, and for its turn.
        (
            seen("other".to_owned()),
            &["a own own 100", "b cp2 b 100"],
            "take the turn, to restart etcd",
        ),
        (
            seen("other".to_owned()),
            &["a own own 100", "b cp2 b -"],
            "remember etcd member a as a voter",
        ),
        // Not while the others cannot do without it; who it is is remembered meanwhile.
        (
            seen("other".to_owned()),
            &three,
            "remember etcd member a as a voter",
        ),
    ] {
        let observed = Observed {
            etcd_data: Probe::Seen(()),
            members: match rows {
                [] => Probe::Unreadable("it does not serve yet".to_owned()),
                rows => Probe::Seen(members(rows)),
            },
            files: [(first.path.clone(), file)].into(),
            ..Observed::default()
        };
        let verdict = verdict(Stage::Etcd, &desired, &observed, 0).unwrap();
        let said = said(&verdict);
        assert!(said.starts_with(expected), "{rows:?}: {said}");
        if let Verdict::Act { actions } = &verdict
            && let [Action::WriteFile { file }] = actions.as_slice()
        {
            assert_eq!(file, begun);
        }
    }
    let joined = Membership::of(&members(&three), MemberId(0xa), "own", true);
    let observed = Observed {
        etcd_data: Probe::Seen(()),
        membership: Probe::Seen(joined),
        members: Probe::Seen(members(&three)),
        files: [(first.path.clone(), seen("other".to_owned()))].into(),
        ..Observed::default()
    };
    let verdict = verdict(Stage::Etcd, &desired, &observed, 0).unwrap();
    let refused = "etcd is not restarted with what is new: without own only 1 of etcd's 3 voters";
    assert!(said(&verdict).contains(refused), "{}", said(&verdict));
}

#[test]
fn who_is_needed_for_the_quorum_may_not_go_away() {
    for (rows, expected) in [
        (&["a own own 100"][..], None),
        (
            &["a own own 100", "b cp2 b 100"],
            Some("only 1 of etcd's 2 voters"),
        ),
        (&["a own own 100", "b cp2 b 100", "c cp3 c 100"], None),
        (
            &["a own own 100", "b cp2 b 100", "c cp3 c -"],
            Some("only 1 of etcd's 3 voters"),
        ),
        (&["a own own l90", "b cp2 b 100", "c cp3 c -"], None),
        // It is not counted on any more.
        (&["a own own -", "b cp2 b 100", "c cp3 c 100"], None),
        (&["b cp2 b 100", "c cp3 c 100"], None),
    ] {
        let refused = crate::membership::absence_refused(&members(rows), MemberId(0xa));
        let as_expected = match (&refused, expected) {
            (Some(why), Some(words)) => why.contains(words),
            (None, None) => true,
            _ => false,
        };
        assert!(as_expected, "{rows:?}: {refused:?}");
    }
}

#[test]
fn another_machines_learner_is_helped_by_whoever_has_a_vote() {
    for (rows, expected) in [
        (&["a own own 100"][..], "Settled"),
        (
            &["a own own 100", "b _ b l-"],
            "https://b:2380 is a learner of etcd",
        ),
        (
            &["a own own 100", "b cp2 b l95"],
            "promote etcd member cp2 (b)",
        ),
        // Its own is the stage before's.
        (&["a cp1 a 100", "b own own l95"], "Settled"),
    ] {
        let observed = Observed {
            members: Probe::Seen(members(rows)),
            ..Observed::default()
        };
        let verdict = verdict(Stage::Members, &desired(None), &observed, 0).unwrap();
        let said = said(&verdict);
        assert!(said.starts_with(expected), "{rows:?}: {said}");
    }
}

#[test]
fn a_member_that_was_added_twice_is_known_by_its_name_and_address() {
    let added = members(&["a cp1 a 100", "b _ own l-"]);
    let remembered = |voter| Membership::of(&added, MemberId(0xb), "own", voter);
    let says = |joined: Membership, rows: &[&str]| {
        let desired = desired(Some(&joined));
        let manifest = desired.etcd.as_ref().unwrap();
        let there = crate::observed::FileSeen {
            digest: manifest.digest(),
            mode: manifest.mode,
        };
        let observed = Observed {
            files: [(manifest.path.clone(), Probe::Seen(there))].into(),
            etcd_data: Probe::Seen(()),
            membership: Probe::Seen(joined),
            members: Probe::Seen(members(rows)),
            ..Observed::default()
        };
        said(&verdict(Stage::Etcd, &desired, &observed, 0).unwrap())
    };
    for (state, expected) in [("90", "as a voter"), ("l90", "as a learner")] {
        let rows = ["a cp1 a 100".to_owned(), format!("c own own {state}")];
        let rows = rows.each_ref().map(String::as_str);
        let remember = format!("remember etcd member c {expected}");
        assert_eq!(says(remembered(false), &rows), remember);
        // Who knew of its vote was taken out with it: its data is of nobody.
        let gone = "the cluster does not have this machine's member b any more";
        assert!(says(remembered(true), &rows).starts_with(gone));
    }
    // Nobody has begun there, or somebody else.
    for other in ["c _ own l-", "c cp2 own 90", "c own b 90"] {
        let gone = "the cluster does not have this machine's member b any more";
        let said = says(remembered(false), &["a cp1 a 100", other]);
        assert!(said.starts_with(gone), "{other}: {said}");
    }
}
