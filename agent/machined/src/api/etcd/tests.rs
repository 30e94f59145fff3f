use machine_plan::etcd_health::{EtcdSeen, MemberSeen, Told};
use machine_plan::membership::{Member, MemberId};
use machine_plan::observed::Probe;
use machined_proto::v1;
use machined_proto::v1::etcd_recover_request::Part;
use machined_proto::v1::machine_service_client::MachineServiceClient;
use sha2::{Digest, Sha256};
use tonic::Code;
use tonic::transport::Channel;

use crate::api::fixture::{Served, channel, cluster, served};
use crate::ledger::{Acceptance, Mode};

const MIB: u64 = 1 << 20;

async fn admin(served: &Served) -> MachineServiceClient<Channel> {
    let certificate = cluster().client("alice", "machined:admin");
    MachineServiceClient::new(channel(served.address, Some(&certificate)).await.unwrap().0)
}

/// Members cp1 and so on: MiB in use of 100, or silence.
fn seen(used: &[Option<u64>], read: bool) -> EtcdSeen {
    let member = |(index, used): (usize, &Option<u64>)| {
        let id = index as u64 + 1;
        let silent = || "silent".to_owned();
        MemberSeen {
            member: Member {
                id: MemberId(id),
                name: format!("cp{id}"),
                peer_urls: vec![format!("https://cp{id}:2380")],
                learner: false,
                leader: id == 1 && read,
                applied: used.map_or_else(|| Probe::Unreadable(silent()), |_| Probe::Seen(9)),
            },
            told: match used {
                Some(used) => Probe::Seen(Told {
                    db_bytes: 100 * MIB,
                    db_bytes_in_use: used * MIB,
                    ..Told::default()
                }),
                None => Probe::Unreadable(silent()),
            },
            alarms: Vec::new(),
        }
    };
    EtcdSeen {
        turn: Probe::Absent,
        members: used.iter().enumerate().map(member).collect(),
        read: match read {
            true => Probe::Seen(()),
            false => Probe::Unreadable("no quorum".to_owned()),
        },
    }
}

async fn defragment(served: &Served, members: &[&str], force: bool) -> Result<Vec<String>, String> {
    let request = v1::EtcdDefragmentRequest {
        members: members.iter().map(|&name| name.to_owned()).collect(),
        force,
    };
    let mut told = Vec::new();
    let said = |status: tonic::Status| status.message().to_owned();
    let mut client = admin(served).await;
    let stream = client.etcd_defragment(request).await.map_err(said)?;
    let mut stream = stream.into_inner();
    while let Some(more) = stream.message().await.map_err(said)? {
        told.push(format!("{}: {}", more.member, more.message));
    }
    Ok(told)
}

#[tokio::test]
async fn a_defragmentation_is_one_after_the_other_the_leader_last_and_never_where_it_hurts() {
    let served = served().await;
    let set = |etcd| *served.hands.seen.lock().unwrap() = Some(etcd);
    for (etcd, words) in [
        (
            seen(&[Some(10), Some(10), None], true),
            "etcd is not well: cp3 does not answer",
        ),
        (
            seen(&[Some(10), None, None], false),
            "etcd serves nothing: no quorum",
        ),
        (seen(&[Some(10)], true), "it is the only member"),
        (
            seen(&[Some(10), Some(10)], true),
            "only 1 of etcd's 2 voters would answer",
        ),
    ] {
        set(etcd);
        let refused = defragment(&served, &[], false).await.unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    set(seen(&[Some(10), Some(10), Some(70)], true));
    let told = defragment(&served, &[], false).await.unwrap();
    let order = [
        "cp2: begun",
        "cp2: done",
        "cp3: left as it is: 30 %",
        "cp1: cp2 leads now",
        "cp1: begun",
        "cp1: done",
    ];
    assert_eq!(told.len(), order.len(), "{told:?}");
    for (told, words) in told.iter().zip(order) {
        assert!(told.starts_with(words), "{told}");
    }
    let told = defragment(&served, &["cp3"], true).await.unwrap();
    assert!(told[0].starts_with("cp3: begun"), "{told:?}");
    let refused = defragment(&served, &["cp9"], true).await.unwrap_err();
    assert!(refused.contains("no member cp9"), "{refused}");
    let done = served.hands.done.lock().unwrap().join(", ");
    assert_eq!(done, "defragment cp2, defragment cp1, defragment cp3");
}

#[tokio::test]
async fn an_alarm_is_taken_back_once_its_cause_is_gone() {
    let served = served().await;
    let mut client = admin(&served).await;
    let mut etcd = seen(&[Some(10), Some(10), Some(10)], true);
    etcd.members[1].alarms = vec!["NOSPACE".to_owned()];
    let full = |etcd: &EtcdSeen, quota_bytes| {
        let mut etcd = etcd.clone();
        if let Probe::Seen(told) = &mut etcd.members[1].told {
            told.quota_bytes = quota_bytes;
        }
        Some(etcd)
    };
    let request = |disarm, force| v1::EtcdAlarmsRequest { disarm, force };
    *served.hands.seen.lock().unwrap() = full(&etcd, 50 * MIB);
    let status = client.etcd_status(v1::EtcdStatusRequest {}).await.unwrap();
    let findings = status.into_inner().findings;
    assert!(
        findings[0].cause.contains("cp2 raises the alarm NOSPACE"),
        "{findings:?}"
    );
    let refused = client.etcd_alarms(request(true, false)).await.unwrap_err();
    assert!(
        refused.message().contains("machinectl etcd defrag first"),
        "{refused}"
    );
    *served.hands.seen.lock().unwrap() = full(&etcd, 200 * MIB);
    for (disarm, left) in [(false, 1), (true, 1), (false, 0)] {
        let alarms = client.etcd_alarms(request(disarm, false)).await.unwrap();
        assert_eq!(alarms.into_inner().alarms.len(), left);
    }
    etcd.members[2].alarms = vec!["CORRUPT".to_owned()];
    *served.hands.seen.lock().unwrap() = Some(etcd);
    let refused = client.etcd_alarms(request(true, false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    client.etcd_alarms(request(true, true)).await.unwrap();
}

#[tokio::test]
async fn an_order_is_in_the_ledger_only_where_nothing_speaks_against_it() {
    let served = served().await;
    let mut client = admin(&served).await;
    let order = || served.ledger.etcd_order().unwrap().map(|order| order.id);
    let ask = |wish: v1::EtcdRecoverWish, parts: &[&[u8]]| {
        let blobs = parts.iter().map(|blob| Part::Blob(blob.to_vec()));
        let parts = [Part::Wish(wish)].into_iter().chain(blobs);
        let parts: Vec<_> = parts
            .map(|part| v1::EtcdRecoverRequest { part: Some(part) })
            .collect();
        tokio_stream::iter(parts)
    };
    let data = v1::EtcdRecoverWish::default();
    *served.hands.seen.lock().unwrap() = Some(seen(&[Some(10), Some(10), None], true));
    let refused = client
        .etcd_recover(ask(data.clone(), &[]))
        .await
        .unwrap_err();
    assert!(
        refused.message().contains("of 3 voters 2 answer"),
        "{refused}"
    );
    let dry = v1::EtcdRecoverWish {
        dry_run: true,
        ..data.clone()
    };
    let told = client
        .etcd_recover(ask(dry.clone(), &[]))
        .await
        .unwrap()
        .into_inner();
    assert!(told.refused.contains("etcd has its quorum") && !told.explanation.is_empty());
    *served.hands.seen.lock().unwrap() = Some(seen(&[Some(10), None, None], false));
    let told = client
        .etcd_recover(ask(dry, &[]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((&*told.refused, &*told.order, order()), ("", "", None));

    let bytes = [&[7; 512][..], &Sha256::digest([7; 512])[..]].concat();
    let wish = v1::EtcdRecoverWish {
        sha256: data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)),
        bytes: bytes.len() as u64,
        ..data
    };
    let half = client
        .etcd_recover(ask(wish.clone(), &[&bytes[..300]]))
        .await;
    assert_eq!(
        (half.unwrap_err().code(), order()),
        (Code::InvalidArgument, None)
    );
    let whole = [&bytes[..300], &bytes[300..]];
    let told = client
        .etcd_recover(ask(wish.clone(), &whole))
        .await
        .unwrap();
    assert_eq!(Some(told.into_inner().order), order());
    let kept = served.ledger.etcd_snapshot(&wish.sha256);
    assert_eq!(std::fs::read(kept).unwrap(), bytes);
    let written = served.audit();
    let results: Vec<_> = written
        .iter()
        .filter(|line| line["method"] == "EtcdRecover")
        .collect();
    assert_eq!(
        results.len(),
        3,
        "a dry run is not written down: {results:?}"
    );
}

#[tokio::test]
async fn who_leaves_or_discards_must_not_be_needed() {
    let served = served().await;
    let mut client = admin(&served).await;
    let etcd = seen(&[Some(10), Some(10), None], true);
    *served.hands.seen.lock().unwrap() = Some(etcd.clone());
    *served.hands.members.lock().unwrap() = etcd.listed();
    let ask = |discard, force| v1::EtcdLeaveRequest { discard, force };
    for discard in [false, true] {
        let refused = client.etcd_leave(ask(discard, false)).await.unwrap_err();
        let words = "without cp1 there are 2 voters of which 1 answer";
        assert!(refused.message().contains(words), "{refused}");
    }
    assert!(served.ledger.etcd_order().unwrap().is_none());
    *served.hands.members.lock().unwrap() = seen(&[Some(1), Some(1), Some(1)], true).listed();
    let left = client
        .etcd_leave(ask(false, false))
        .await
        .unwrap()
        .into_inner();
    assert!(left.order.starts_with("leave-"), "{left:?}");
    client.etcd_join(v1::EtcdJoinRequest {}).await.unwrap();
    assert!(served.ledger.etcd_order().unwrap().unwrap().done);
    // Whoever is silent until it has joined again is missed more than who has left.
    *served.hands.members.lock().unwrap() = seen(&[Some(1), Some(1)], true).listed();
    let refused = client.etcd_leave(ask(true, false)).await.unwrap_err();
    let words = "only 1 of etcd's 2 voters would answer, and 2 are needed: machinectl etcd leave";
    assert!(refused.message().contains(words), "{refused}");
    // Nor is it silent in another's turn.
    *served.hands.members.lock().unwrap() = seen(&[Some(1), Some(1), Some(1)], true).listed();
    *served.hands.needed.lock().unwrap() = Some("cp2 has the turn".to_owned());
    let refused = client.etcd_leave(ask(true, false)).await.unwrap_err();
    assert!(refused.message().contains("cp2 has the turn"), "{refused}");
    *served.hands.needed.lock().unwrap() = None;
    // The recovered cluster has it no more.
    let others = seen(&[Some(1), Some(1)], true).listed().split_off(1);
    *served.hands.members.lock().unwrap() = others;
    let gone = client.etcd_leave(ask(false, false)).await.unwrap_err();
    assert!(gone.message().contains("nothing to leave"), "{gone}");
    // Which member it is may only have been forgotten.
    *served.hands.forgot.lock().unwrap() = true;
    let refused = client.etcd_leave(ask(true, false)).await.unwrap_err();
    assert!(refused.message().contains("does not remember"), "{refused}");
    *served.hands.forgot.lock().unwrap() = false;
    let order = client
        .etcd_leave(ask(true, false))
        .await
        .unwrap()
        .into_inner()
        .order;
    assert!(order.starts_with("discard-"), "{order}");
}

#[tokio::test]
async fn an_etcd_of_somebody_else_is_not_looked_after() {
    let served = served().await;
    let mut client = admin(&served).await;
    *served.hands.seen.lock().unwrap() = Some(seen(&[Some(10)], true));
    let external = "  etcd: {external: {endpoints: ['https://etcd.example:2379']}}\n";
    let text = format!("{}{external}", cluster().config);
    let bundle = machine_config::read(text.as_bytes()).unwrap();
    let accepted = Acceptance {
        text,
        bundle,
        sent_ms: None,
        by: "test".to_owned(),
        mode: Mode::Auto,
        expected: None,
    };
    served.ledger.accept(accepted).unwrap();
    let whole = [v1::EtcdRecoverRequest {
        part: Some(Part::Wish(v1::EtcdRecoverWish::default())),
    }];
    let recover = client.etcd_recover(tokio_stream::iter(whole)).await;
    let refused = [
        client.etcd_members(v1::EtcdMembersRequest {}).await.err(),
        client.etcd_status(v1::EtcdStatusRequest {}).await.err(),
        client.etcd_join(v1::EtcdJoinRequest {}).await.err(),
        client
            .etcd_leave(v1::EtcdLeaveRequest::default())
            .await
            .err(),
        client
            .etcd_alarms(v1::EtcdAlarmsRequest::default())
            .await
            .err(),
        client
            .etcd_remove_member(v1::EtcdRemoveMemberRequest::default())
            .await
            .err(),
        client
            .etcd_forfeit_leadership(v1::EtcdForfeitLeadershipRequest::default())
            .await
            .err(),
        client
            .etcd_snapshot(v1::EtcdSnapshotRequest::default())
            .await
            .err(),
        client
            .etcd_defragment(v1::EtcdDefragmentRequest::default())
            .await
            .err(),
        recover.err(),
    ];
    for status in refused {
        let status = status.unwrap();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        for words in ["etcd is external", "at https://etcd.example:2379"] {
            assert!(status.message().contains(words), "{status}");
        }
    }
    assert!(served.hands.done.lock().unwrap().is_empty());
}
