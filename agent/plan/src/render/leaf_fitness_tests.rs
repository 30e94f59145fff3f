//! Each reason for a new leaf, and that nothing else is one.

use std::time::{Duration, UNIX_EPOCH};

use machine_pki::{Authority, AuthorityKind, Usage, inspect};
use proptest::prelude::*;

use super::super::leaves::Place;
use super::*;

const NOW: i64 = 1_893_456_000;

fn leaf(lifetime: Duration) -> Leaf {
    let request = LeafRequest {
        common_name: "cp1".to_owned(),
        organizations: vec!["group".to_owned()],
        usage: Usage::Both,
        dns: ["cp1", "localhost"].map(str::to_owned).into(),
        ips: ["127.0.0.1", "192.0.2.10"]
            .map(|ip| ip.parse().unwrap())
            .into(),
        lifetime,
    };
    let place = Place::Pair {
        certificate: String::new(),
        key: String::new(),
    };
    Leaf {
        name: "etcd/peer",
        authority: AuthorityKind::Etcd,
        request,
        place,
    }
}

/// What a certificate made for the leaf now says.
fn issued(leaf: &Leaf, now: i64) -> CertificateFacts {
    let now = UNIX_EPOCH + Duration::from_secs(now.try_into().unwrap());
    let authority = Authority::generate(leaf.authority, now).unwrap();
    inspect(&authority.issue(&leaf.request, now).unwrap().certificate_pem).unwrap()
}

#[test]
fn a_new_leaf_is_right() {
    for lifetime in [Lifetime::LEAF, Lifetime::MACHINE_API] {
        let leaf = leaf(lifetime);
        assert_eq!(leaf.wanted(&issued(&leaf, NOW), NOW), Ok(()));
    }
}

#[test]
fn each_difference_is_a_reason_of_its_own() {
    let leaf = leaf(Lifetime::LEAF);
    let right = issued(&leaf, NOW);
    let why = |change: &dyn Fn(&mut CertificateFacts)| {
        let mut facts = right.clone();
        change(&mut facts);
        leaf.wanted(&facts, NOW).unwrap_err()
    };
    assert_eq!(why(&|f| f.is_ca = true), Why::IsAuthority);
    assert_eq!(
        why(&|f| f.common_name = "cp2".to_owned()).to_string(),
        "its common name is \"cp2\""
    );
    assert_eq!(
        why(&|f| f.organizations = vec!["system:masters".to_owned()]).to_string(),
        "it names the group system:masters"
    );
    assert_eq!(
        why(&|f| f.organizations.clear()).to_string(),
        "it names no group"
    );
    assert_eq!(why(&|f| f.usage = Some(Usage::Server)), Why::Usage);
    assert_eq!(why(&|f| f.usage = None), Why::Usage);
    let fewer = why(&|f| {
        f.dns.remove("localhost");
        f.ips.clear();
    });
    assert_eq!(
        fewer.to_string(),
        "it does not name localhost, 127.0.0.1, 192.0.2.10"
    );
}

#[test]
fn more_names_than_wanted_do_no_harm() {
    let leaf = leaf(Lifetime::LEAF);
    let mut facts = issued(&leaf, NOW);
    facts.dns.insert("old".to_owned());
    facts.ips.insert("192.0.2.99".parse().unwrap());
    assert_eq!(leaf.wanted(&facts, NOW), Ok(()));
}

#[test]
fn renewal_comes_at_two_thirds_of_a_year_and_at_half_a_day() {
    let year = leaf(Lifetime::LEAF);
    let facts = issued(&year, NOW);
    let due = NOW - 300 + (365 * DAY + 300) / 3 * 2;
    assert_eq!(year.wanted(&facts, due - 1), Ok(()));
    assert_eq!(year.wanted(&facts, due), Err(Why::Renewal));
    assert_eq!(year.wanted(&facts, facts.not_after), Err(Why::Expired));

    let day = leaf(Lifetime::MACHINE_API);
    let facts = issued(&day, NOW);
    let due = NOW - 300 + (DAY + 300) / 2;
    assert_eq!(day.wanted(&facts, due - 1), Ok(()));
    assert_eq!(day.wanted(&facts, due), Err(Why::Renewal));
}

#[test]
fn a_clock_that_was_wrong_by_a_year_is_seen() {
    let leaf = leaf(Lifetime::LEAF);
    let facts = issued(&leaf, NOW + 365 * DAY);
    assert_eq!(leaf.wanted(&facts, NOW), Err(Why::Clock));
    assert!(
        leaf.wanted(&facts, NOW)
            .unwrap_err()
            .to_string()
            .contains("clock")
    );
    assert_eq!(leaf.wanted(&issued(&leaf, NOW + DAY), NOW), Ok(()));
    assert_eq!(
        leaf.wanted(&issued(&leaf, NOW - 365 * DAY), NOW),
        Err(Why::Expired)
    );
}

/// Otherwise an authority's last year would see leaves made ever more often.
#[test]
fn a_leaf_cut_short_by_its_authority_is_kept_to_its_end() {
    let leaf = leaf(Lifetime::LEAF);
    let at = |now: i64| UNIX_EPOCH + Duration::from_secs(now.try_into().unwrap());
    let authority = Authority::generate(AuthorityKind::Etcd, at(NOW)).unwrap();
    let late = NOW + 3640 * DAY;
    let issued = authority.issue(&leaf.request, at(late)).unwrap();
    let facts = inspect(&issued.certificate_pem).unwrap();
    assert_eq!(leaf.wanted(&facts, facts.not_after - 1), Ok(()));
    assert_eq!(leaf.wanted(&facts, facts.not_after), Err(Why::Expired));
}

proptest! {
    /// Whatever the dates, there is an answer.
    #[test]
    fn any_dates_have_an_answer(not_before: i64, not_after: i64, now: i64) {
        let leaf = leaf(Lifetime::LEAF);
        let facts = CertificateFacts { not_before, not_after, ..right() };
        let _ = leaf.wanted(&facts, now);
    }
}

fn right() -> CertificateFacts {
    static RIGHT: std::sync::LazyLock<CertificateFacts> =
        std::sync::LazyLock::new(|| issued(&leaf(Lifetime::LEAF), NOW));
    RIGHT.clone()
}
