use super::*;

fn turn(member: u64) -> Turn {
    Turn {
        version: Turn::VERSION,
        holder: format!("cp{member}"),
        member: MemberId(member),
        purpose: Purpose::RestartEtcd,
        boot: "b".to_owned(),
        since: 1_795_219_200,
        order: None,
    }
}

#[test]
fn what_another_release_wrote_is_understood() {
    let frozen = r#"{"version":1,"holder":"cp2","member":"2","purpose":"reboot","boot":"b","since":1795219200,"order":"reboot-7"}"#;
    let expected = Turn {
        purpose: Purpose::Reboot,
        order: Some("reboot-7".to_owned()),
        ..turn(2)
    };
    assert_eq!(Turn::read(frozen.as_bytes()).as_ref(), Ok(&expected));
    assert_eq!(expected.written().unwrap(), frozen.as_bytes());
    let words = [
        (Purpose::Reboot, "reboot"),
        (Purpose::Shutdown, "shutdown"),
        (Purpose::Leave, "leave"),
        (Purpose::RestartEtcd, "restart-etcd"),
        (Purpose::RestartApiServer, "restart-api-server"),
    ];
    for (purpose, word) in words {
        assert_eq!(
            serde_json::to_string(&purpose).unwrap(),
            format!("\"{word}\"")
        );
    }
    // A newer one may say more, and may say it otherwise.
    let more = frozen.replace("\"boot\"", "\"more\":1,\"boot\"");
    assert_eq!(Turn::read(more.as_bytes()), Ok(expected));
    let why = Turn::read(br#"{"version":2,"who":"cp2"}"#).unwrap_err();
    assert!(why.contains("its version is 2"), "{why}");
    assert!(Turn::read(b"junk").is_err());
}

#[test]
fn one_at_a_time_and_only_members_count() {
    let member = |id, learner| Member {
        id: MemberId(id),
        name: format!("cp{id}"),
        peer_urls: Vec::new(),
        learner,
        leader: false,
        applied: Probe::Absent,
    };
    let seen = |id| {
        Probe::Seen(TurnSeen {
            turn: turn(id),
            revision: 7,
        })
    };
    let three = [member(1, false), member(2, false), member(3, true)];
    let unknown = Probe::Unreadable("junk".to_owned());
    for (turn, expected) in [
        (&Probe::Absent, Stand::Free(None)),
        (&seen(1), Stand::Ours(seen(1).seen().unwrap())),
        (&seen(2), Stand::Held(&turn(2))),
        // A learner is a member: what it is to become is not gone.
        (&seen(3), Stand::Held(&turn(3))),
        (&seen(9), Stand::Free(seen(9).seen())),
        (&unknown, Stand::Unknown("junk")),
    ] {
        assert_eq!(stand(&three, MemberId(1), turn), expected);
    }
    // Who has no vote, or the only one, goes as it likes; so does who is none of them.
    for (members, own) in [(&three[..], 3), (&three[..], 9), (&three[1..], 2)] {
        assert_eq!(
            stand(members, MemberId(own), &seen(1)),
            Stand::NotNeeded,
            "{own}"
        );
    }
    assert!(renews(&turn(1), seen(1).seen()));
    assert!(!renews(&turn(1), seen(2).seen()) && !renews(&turn(1), None));
}

#[test]
fn who_waits_is_told_for_whom_and_what_helps() {
    let turn = turn(2);
    assert_eq!(
        turn.held(),
        "cp2 has the turn, to restart etcd, since 2026-11-21T00:00:00Z: one control plane at a time"
    );
    assert!(turn.next_step().ends_with("machinectl etcd remove cp2"));
}

#[test]
fn beside_one_that_leaves_nobody_is_removed_whom_the_rest_needs() {
    let member = |id: u64, answers| Member {
        id: MemberId(id),
        name: format!("cp{id}"),
        peer_urls: Vec::new(),
        learner: false,
        leader: false,
        applied: match answers {
            true => Probe::Seen(9),
            false => Probe::Absent,
        },
    };
    // Four are enough for one that is dead and one that leaves, three are not.
    let three = [member(1, true), member(2, true), member(3, false)];
    let five = [&three[..], &[member(4, true), member(5, true)]].concat();
    let leaves = |id| Turn {
        purpose: Purpose::Leave,
        ..turn(id)
    };
    let refused =
        |members: &[Member], turn: &Turn| removal_refused(members, MemberId(3), Some(turn));
    let why = refused(&three, &leaves(1)).unwrap();
    assert!(
        why.starts_with("cp1 has the turn, to leave etcd") && why.contains("of 3 voters 1 answer"),
        "{why}"
    );
    assert_eq!(refused(&five, &leaves(1)), None);
    // It is the one that leaves; the turn's holder comes back; nobody has a turn.
    assert_eq!(refused(&three, &leaves(3)), None);
    assert_eq!(refused(&three, &turn(1)), None);
    assert_eq!(removal_refused(&three, MemberId(3), None), None);
}

#[test]
fn who_is_about_to_leave_still_is_when_it_is_told_to_reboot() {
    let over = |member, purpose| TurnSeen {
        turn: Turn {
            purpose,
            ..turn(member)
        },
        revision: 7,
    };
    let wanted = |over: Option<&TurnSeen>| purpose(Purpose::Reboot, MemberId(1), over);
    assert_eq!(wanted(Some(&over(1, Purpose::Leave))), Purpose::Leave);
    assert_eq!(
        wanted(Some(&over(1, Purpose::RestartEtcd))),
        Purpose::Reboot
    );
    assert_eq!(wanted(Some(&over(2, Purpose::Leave))), Purpose::Reboot);
    assert_eq!(wanted(None), Purpose::Reboot);
}
