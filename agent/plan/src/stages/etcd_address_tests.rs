use super::super::etcd::tests::{desired_at, members, said};
use crate::membership::{MemberId, Membership};
use crate::observed::{FileSeen, Observed, Probe};
use crate::stages::{Stage, verdict};
use crate::turn::{Purpose, Turn, TurnSeen};

const HERE: &str = "192.0.2.9";
const WAITS: &str = "etcd is not restarted with what is new: without own";
const CP_HAS: &str = "etcd is not restarted with what is new: cp has the turn";

/// What of etcd's manifest is there.
#[derive(Debug, Clone, Copy)]
enum File {
    None,
    Right,
    Changed,
}
use File::{Changed, None as No, Right};

fn turn(member: u64) -> TurnSeen {
    TurnSeen {
        turn: Turn {
            version: Turn::VERSION,
            holder: "cp".to_owned(),
            member: MemberId(member),
            purpose: Purpose::RestartEtcd,
            boot: "now".to_owned(),
            since: 0,
            order: None,
        },
        revision: 7,
    }
}

/// What the stage says of a member that has begun: `voter` as it remembers, or `None` where it does not.
fn told(address: &str, voter: Option<bool>, file: File, rows: &[&str]) -> String {
    let listed = members(rows);
    let joined = voter.map(|voter| Membership::of(&listed, MemberId(0xa), "own", voter));
    let desired = desired_at(address, joined.as_ref());
    let right = desired.etcd_begun.last().unwrap();
    let digest = match file {
        Right => right.digest(),
        _ => "other".to_owned(),
    };
    let seen = Probe::Seen(FileSeen {
        digest,
        mode: right.mode,
    });
    let seen = match file {
        No => Probe::Absent,
        _ => seen,
    };
    let observed = Observed {
        etcd_data: Probe::Seen(()),
        boot: "now".to_owned(),
        membership: joined.map_or(Probe::Absent, Probe::Seen),
        members: Probe::Seen(listed),
        turn: Probe::Seen(turn(0xa)),
        etcd_astray: matches!(file, Changed),
        addresses: ["192.0.2.5", "192.0.2.9"]
            .map(|ip| ip.parse().unwrap())
            .into(),
        files: [(right.path.clone(), seen)].into(),
        ..Observed::default()
    };
    said(&verdict(Stage::Etcd, &desired, &observed, 0).unwrap())
}

#[test]
fn the_others_are_told_where_a_voter_is_before_it_is_restarted_there() {
    let listed = "list etcd member own (a) at https://192.0.2.9:2380";
    let kept = "keep the turn, to restart etcd, list etcd member own (a) at https://192.0.2.9:2380";
    let refused = "etcd is not restarted with what is new: without own only";
    for (file, rows, expected) in [
        (
            Changed,
            &["a own 192.0.2.5 100", "b cp2 b 100", "c cp3 c 100"][..],
            kept,
        ),
        // Its old address is gone already, and it does not answer.
        (
            Changed,
            &["a own 192.0.2.5 -", "b cp2 b 100", "c cp3 c 100"],
            kept,
        ),
        (Changed, &["a own 192.0.2.5 100"], listed),
        // Each of two is the quorum: while both answer.
        (Changed, &["a own 192.0.2.5 100", "b cp2 b 100"], kept),
        (Changed, &["a own 192.0.2.5 100", "b cp2 b -"], refused),
        (
            Changed,
            &["a own 192.0.2.5 100", "b cp2 b 100", "c cp3 c -"],
            refused,
        ),
        // A new boot: it does not run. Or it has begun there because nobody had answered.
        (
            No,
            &["a own 192.0.2.5 -", "b cp2 b 100", "c cp3 c 100"],
            listed,
        ),
        (
            Right,
            &["a own 192.0.2.5 100", "b cp2 b 100", "c cp3 c -"],
            listed,
        ),
        // Told, and cut short.
        (
            Changed,
            &["a own own 100", "b cp2 b 100", "c cp3 c 100"],
            "keep the turn, to restart etcd, write /etc/kubernetes/manifests/etcd.yaml",
        ),
        (
            Right,
            &["a own own 100", "b cp2 b 100", "c cp3 c 100"],
            "Settled",
        ),
        (
            Changed,
            &["a own 192.0.2.5 100", "b cp2 own 100", "c cp3 c 100"],
            "this machine's address https://192.0.2.9:2380 is that of member cp2 / give this machine \
             another address; or if cp2 is gone: machinectl etcd remove b",
        ),
    ] {
        let said = told(HERE, Some(true), file, rows);
        assert!(said.starts_with(expected), "{file:?} {rows:?}: {said}");
    }
    // The first, which does not know its number yet.
    assert_eq!(told(HERE, None, Changed, &["a own 192.0.2.5 100"]), listed);
}

#[test]
fn one_that_the_others_do_not_find_waits_for_nobody() {
    let rows = |own: &str, third: &str| members(&[own, "b cp2 b 100", third]);
    let (silent, answers) = ("c cp3 c -", "c cp3 c 100");
    for (own, third, astray, address, expected) in [
        // Found at its last address: the others need it.
        ("a own 192.0.2.5 100", silent, true, "192.0.2.5", WAITS),
        ("a own 192.0.2.5 100", answers, true, "192.0.2.5", CP_HAS),
        // The machine has that no more, or the list has the next one already.
        (
            "a own 192.0.2.5 100",
            silent,
            true,
            "192.0.2.9",
            "write /etc",
        ),
        (
            "a own 192.0.2.5 100",
            answers,
            true,
            "192.0.2.9",
            "list etcd member own (a)",
        ),
        ("a own own 100", silent, true, "192.0.2.9", "write /etc"),
        ("a own own 100", answers, true, "192.0.2.9", "write /etc"),
        // It does not answer, be it that it could not even begin where it was: whoever has the turn
        // may wait for it. By the numbers it can be done without.
        (
            "a own 192.0.2.5 -",
            answers,
            false,
            "192.0.2.9",
            "list etcd member own (a)",
        ),
        ("a own own -", answers, false, "192.0.2.9", "write /etc"),
        ("a own own -", silent, false, "192.0.2.9", WAITS),
        // It listens at its new address already: that is told, and what else is new waits.
        (
            "a own 192.0.2.5 100",
            silent,
            false,
            "192.0.2.9",
            "list etcd member own (a)",
        ),
        // Another change than of its address.
        ("a own own 100", silent, false, "192.0.2.9", WAITS),
    ] {
        let listed = rows(own, third);
        let joined = Membership::of(&listed, MemberId(0xa), "own", true);
        let desired = desired_at(HERE, Some(&joined));
        let right = desired.etcd_begun.last().unwrap();
        let seen = FileSeen {
            digest: "other".to_owned(),
            mode: right.mode,
        };
        let observed = Observed {
            etcd_data: Probe::Seen(()),
            membership: Probe::Seen(joined),
            members: Probe::Seen(listed),
            turn: Probe::Seen(turn(0xc)),
            files: [(right.path.clone(), Probe::Seen(seen))].into(),
            addresses: vec![address.parse().unwrap()],
            etcd_astray: astray,
            ..Observed::default()
        };
        let said = said(&verdict(Stage::Etcd, &desired, &observed, 0).unwrap());
        assert!(
            said.starts_with(expected),
            "{own} {third} {astray} {address}: {said}"
        );
    }
}

#[test]
fn who_is_where_a_machine_was_says_nothing_of_its_data() {
    let mut listed = members(&["a own old -", "b cp2 b 100", "c cp3 c 100"]);
    let joined = Membership::of(&listed, MemberId(0xa), "own", true);
    listed[0].applied = Probe::Absent;
    let desired = desired_at(HERE, Some(&joined));
    let mut observed = Observed {
        etcd_data: Probe::Seen(()),
        membership: Probe::Seen(joined),
        members: Probe::Seen(listed.clone()),
        ..Observed::default()
    };
    let now = |observed: &Observed| said(&verdict(Stage::Etcd, &desired, observed, 0).unwrap());
    assert!(now(&observed).starts_with("list etcd member own (a)"));
    // Where another one is, it does.
    (listed[0].applied, listed[1].applied) = (Probe::Seen(1), Probe::Absent);
    observed.members = Probe::Seen(listed);
    assert!(now(&observed).starts_with("at the address of member cp2 is one of another cluster"));
}

#[test]
fn a_learner_is_never_listed_elsewhere() {
    let others = ["b cp2 b 100", "c cp3 c 100"];
    for (file, own, expected) in [
        (Changed, "a own old l50", "etcd's new address waits until"),
        (Changed, "a own old l95", "promote etcd member own (a)"),
        (
            No,
            "a own old l-",
            "this machine's address changed before its member of etcd had its vote / machinectl etcd \
             leave --discard -n own",
        ),
    ] {
        let said = told(HERE, Some(false), file, &[own, others[0], others[1]]);
        assert!(said.starts_with(expected), "{own}: {said}");
    }
    // One that has not begun is added anew.
    let listed = members(&["a _ old l-", "b cp2 b 100"]);
    let joined = Membership::of(&listed, MemberId(0xa), "own", false).added_in("now");
    let desired = desired_at(HERE, Some(&joined));
    let observed = Observed {
        boot: "now".to_owned(),
        membership: Probe::Seen(joined),
        members: Probe::Seen(listed),
        ..Observed::default()
    };
    assert_eq!(
        said(&verdict(Stage::Etcd, &desired, &observed, 0).unwrap()),
        "remove etcd member https://old:2380 (a): this machine has another address by now"
    );
}

#[test]
fn a_machine_whose_address_is_away_has_not_changed_its_mind() {
    let rows = ["a own old 100", "b cp2 b 100", "c cp3 c 100"];
    let said = told("0.0.0.0", Some(true), Changed, &rows);
    assert!(
        said.starts_with("this machine has no address yet"),
        "{said}"
    );
    // In a new boot it begins all the same, and is listed nowhere else.
    let said = told("0.0.0.0", Some(true), No, &rows);
    assert!(said.starts_with("write /etc/kubernetes"), "{said}");
}
