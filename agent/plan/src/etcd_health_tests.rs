use super::*;

const MIB: u64 = 1 << 20;

/// "name state alarms": `state` is `leads`, `follows`, `learns`, or `-` for silence.
fn seen(rows: &[&str], read: bool) -> EtcdSeen {
    let member = |(index, row): (usize, &&str)| {
        let words: Vec<_> = row.split(' ').collect();
        let answers = words[1] != "-";
        let why = || "no answer within 5 s".to_owned();
        MemberSeen {
            member: Member {
                id: MemberId(index as u64 + 10),
                name: words[0].to_owned(),
                peer_urls: vec![format!("https://{}:2380", words[0])],
                learner: words[1] == "learns",
                leader: words[1] == "leads",
                applied: if answers {
                    Probe::Seen(7)
                } else {
                    Probe::Unreadable(why())
                },
            },
            told: match answers {
                true => Probe::Seen(Told {
                    db_bytes: 100 * MIB,
                    db_bytes_in_use: 30 * MIB,
                    ..Told::default()
                }),
                false => Probe::Unreadable(why()),
            },
            alarms: words[2..].iter().map(|&alarm| alarm.to_owned()).collect(),
        }
    };
    EtcdSeen {
        turn: Probe::Absent,
        members: rows.iter().enumerate().map(member).collect(),
        read: match read {
            true => Probe::Seen(()),
            false => Probe::Unreadable("no answer".to_owned()),
        },
    }
}

#[test]
fn all_causes_are_told_each_with_the_next_step() {
    for (rows, read, expected) in [
        (
            &["cp1 leads", "cp2 follows", "cp3 follows"][..],
            true,
            &[][..],
        ),
        (
            &["cp1 leads", "cp2 follows", "cp3 -"],
            true,
            &[
                "cp3 does not answer: no answer within 5 s / bring its machine up; if it is gone for good: machinectl etcd remove cp3",
            ],
        ),
        (
            &["cp1 follows", "cp2 -", "cp3 -"],
            false,
            &[
                "etcd serves nothing: of 3 voters 1 answer, and 2 are needed / bring voters up; if they are gone for good: machinectl etcd recover",
                "cp2 does not answer",
                "cp3 does not answer",
            ],
        ),
        (&[], false, &["no member of etcd answers"]),
        (&["cp1 follows"], true, &["no leader is known"]),
        (
            &["cp1 leads NOSPACE", "cp2 learns CORRUPT"],
            true,
            &[
                "cp1 raises the alarm NOSPACE / machinectl etcd defrag",
                "cp2 has no vote yet",
                "cp2 raises the alarm CORRUPT / its data differs",
            ],
        ),
    ] {
        let findings = seen(rows, read).findings();
        let said: Vec<_> = findings
            .iter()
            .map(|f| format!("{} / {}", f.cause, f.next))
            .collect();
        assert_eq!(said.len(), expected.len(), "{rows:?}: {said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "{said}");
        }
    }
}

#[test]
fn sizes_that_are_not_worth_their_members_are_told() {
    for (count, words) in [
        (1, Some("one voter outlives none")),
        (2, Some("two voters outlive none")),
        (3, None),
        (4, Some("4 voters outlive 1, as 3 do")),
        (5, None),
        (9, Some("seven are enough")),
    ] {
        let advice = seen(&vec!["cp follows"; count], true).advice();
        assert_eq!(advice.len(), usize::from(words.is_some()), "{advice:?}");
        assert!(
            advice.iter().zip(words).all(|(a, w)| a.contains(w)),
            "{advice:?}"
        );
    }
}

#[test]
fn an_alarm_stays_while_its_cause_does() {
    let mut etcd = seen(&["cp1 leads NOSPACE", "cp2 follows", "cp3 -"], true);
    let refused = |etcd: &EtcdSeen, id, alarm| etcd.disarm_refused(MemberId(id), alarm);
    assert_eq!(refused(&etcd, 10, "NOSPACE"), None);
    assert!(refused(&etcd, 12, "NOSPACE").is_some());
    assert!(refused(&etcd, 10, "CORRUPT").is_some());
    if let Probe::Seen(told) = &mut etcd.members[0].told {
        assert_eq!(told.fragmentation(), 70);
        told.quota_bytes = 100 * MIB;
    }
    let why = refused(&etcd, 10, "NOSPACE").unwrap();
    assert!(why.contains("machinectl etcd defrag first"), "{why}");
}
