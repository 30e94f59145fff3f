use super::*;
use crate::etcd_health::{MemberSeen, Told};
use crate::membership::Member;

fn survey(rows: &[(&str, bool)], read: bool) -> Survey {
    let member = |(index, (name, answers)): (usize, &(&str, bool))| MemberSeen {
        member: Member {
            id: MemberId(index as u64),
            name: (*name).to_owned(),
            peer_urls: vec![format!("https://{name}:2380")],
            learner: false,
            leader: false,
            applied: Probe::Absent,
        },
        told: match answers {
            true => Probe::Seen(Told {
                raft_index: index as u64,
                ..Told::default()
            }),
            false => Probe::Unreadable("silent".to_owned()),
        },
        alarms: Vec::new(),
    };
    let mut members: Vec<_> = rows.iter().enumerate().map(member).collect();
    for seen in &mut members {
        if let Probe::Seen(told) = &seen.told {
            seen.member.applied = Probe::Seen(told.raft_index);
        }
    }
    Survey {
        name: "cp1".to_owned(),
        peer_url: "https://cp1:2380".to_owned(),
        own: None,
        etcd: EtcdSeen {
            turn: Probe::Absent,
            members,
            read: match read {
                true => Probe::Seen(()),
                false => Probe::Unreadable("silent".to_owned()),
            },
        },
        data: Probe::Seen(()),
        endpoint_answers: false,
        api_elsewhere: false,
        founding: false,
    }
}

#[test]
fn nothing_is_recovered_beside_what_lives() {
    let lost = [("cp1", true), ("cp2", false), ("cp3", false)];
    for (rows, read, words) in [
        (&lost[..], false, None),
        (
            &[("cp1", false), ("cp2", false), ("cp3", false)],
            false,
            None,
        ),
        (&[], false, None),
        (
            &[("cp1", true), ("cp2", true), ("cp3", false)],
            true,
            Some("of 3 voters 2 answer, and 2 are needed"),
        ),
        (&[("cp1", true)], true, Some("etcd has its quorum: of 1")),
        (
            &[("cp1", false), ("cp2", true), ("cp3", false)],
            false,
            Some("cp2 still answers: of 3 voters 1 answer, and with 2"),
        ),
    ] {
        let refused = survey(rows, read).refused();
        assert_eq!(refused.is_some(), words.is_some(), "{rows:?}: {refused:?}");
        assert!(
            refused.iter().zip(words).all(|(r, w)| r.contains(w)),
            "{refused:?}"
        );
    }
    let alone = Survey {
        endpoint_answers: true,
        ..survey(&[], false)
    };
    assert!(alone.refused().unwrap().contains("second one"));
}

#[test]
fn what_cannot_be_is_forbidden_and_what_can_be_is_explained() {
    let lost = survey(&[("cp1", true), ("cp2", false), ("cp3", false)], false);
    assert_eq!(lost.forbidden(&Source::Data), None);
    let wiped = Survey {
        data: Probe::Absent,
        ..lost.clone()
    };
    assert!(wiped.forbidden(&Source::Data).unwrap().contains("no data"));
    let founding = Survey {
        founding: true,
        ..lost.clone()
    };
    assert!(founding.forbidden(&Source::Data).is_some());
    let text = lost.explained(&Source::Data).join("\n");
    for words in [
        "member cp1 (this machine) answers",
        "member cp2 does not answer: silent",
        "of those that answer cp1 has come furthest",
        "cp2, cp3 must not come back as before",
        "member.before-recover-",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
