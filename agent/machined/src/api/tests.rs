//! The configured machine's API over real TLS.

use std::time::{Duration, SystemTime};

use machine_pki::{Authority, AuthorityKind};
use machine_plan::observed::Retire;
use machine_plan::turn::{Purpose, Turn};
use machined_proto::v1;
use machined_proto::v1::machine_service_client::MachineServiceClient;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::Credentials;
use super::fixture::{self, Served, channel, cluster, served};
use crate::conditions::Kind;

type Client = MachineServiceClient<Channel>;

async fn client(served: &Served, organization: &str) -> Client {
    let certificate = cluster().client("alice", organization);
    Client::new(channel(served.address, Some(&certificate)).await.unwrap().0)
}

async fn turned_away(served: &Served, certificate: Option<&machine_pki::Issued>) -> bool {
    match channel(served.address, certificate).await {
        Err(_) => true,
        // TLS 1.3: the client hears of its refusal with the first call.
        Ok((channel, _)) => {
            let asked = Client::new(channel).version(v1::VersionRequest {}).await;
            asked.is_err_and(|refused| {
                matches!(
                    refused.code(),
                    Code::Unknown | Code::Unavailable | Code::Cancelled
                )
            })
        }
    }
}

#[tokio::test]
async fn only_certificates_of_the_machine_authority_get_in() {
    let served = served().await;
    assert!(turned_away(&served, None).await);
    let stranger = Authority::generate(AuthorityKind::Machine, SystemTime::now()).unwrap();
    let forged = fixture::client(&stranger, "eve", "machined:admin");
    assert!(turned_away(&served, Some(&forged)).await);
    let version = client(&served, "machined:reader")
        .await
        .version(v1::VersionRequest {})
        .await;
    let version = version.unwrap().into_inner();
    assert_eq!(
        (&*version.hostname, &*version.role),
        ("cp1", "controlplane")
    );
    assert_eq!(version.kubernetes_version, "v1.20.2");
}

#[tokio::test]
async fn a_client_of_ours_whose_time_is_another_casts_doubt_on_the_clock() {
    let served = served().await;
    let (now, year) = (SystemTime::now(), Duration::from_secs(365 * 24 * 3600));
    let old = || Authority::generate(AuthorityKind::Machine, now - 2 * year).unwrap();
    let ours = old();
    let shown = Credentials {
        client_authority_pem: Some(ours.certificate_pem().to_owned()),
        ..cluster().node()
    };
    served.front.replace(&shown).unwrap();
    let forged = fixture::admin_from(&old(), now - year);
    assert!(turned_away(&served, Some(&forged)).await);
    assert_eq!(served.board.conditions(), [], "a stranger's says nothing");
    for (begin, why) in [(now - year, "is ahead"), (now + year, "is behind")] {
        let other = fixture::admin_from(&ours, begin);
        assert!(turned_away(&served, Some(&other)).await);
        let conditions = served.board.conditions();
        assert_eq!(conditions.len(), 1, "{conditions:?}");
        assert_eq!(conditions[0].kind, Kind::ClockWrong);
        assert!(conditions[0].message.contains(why), "{conditions:?}");
        let valid = fixture::admin_from(&ours, now);
        assert!(!turned_away(&served, Some(&valid)).await);
        assert_eq!(served.board.conditions(), []);
    }
}

#[tokio::test]
async fn each_role_may_do_its_own() {
    let served = served().await;
    let denied = |result: Result<(), tonic::Status>| {
        result.is_err_and(|status| status.code() == Code::PermissionDenied)
    };
    for (organization, rows) in [
        ("machined:node", [false, false, false]),
        ("machined:reader", [true, false, false]),
        ("machined:operator", [true, true, false]),
        ("machined:admin", [true, true, true]),
    ] {
        let mut client = client(&served, organization).await;
        let status = client.status(v1::StatusRequest {}).await.map(drop);
        let name = "kubelet".to_owned();
        let restart = client
            .restart_service(v1::RestartServiceRequest { name })
            .await
            .map(drop);
        let get = client
            .get_config(v1::GetConfigRequest { generation: 0 })
            .await
            .map(drop);
        let allowed = [status, restart, get].map(|result| !denied(result));
        assert_eq!(allowed, rows, "{organization}");
    }
    assert_eq!(
        *served.hands.done.lock().unwrap(),
        ["restart kubelet.service"; 2]
    );
    let refusals = served
        .audit()
        .iter()
        .filter(|l| l["method"] == "GetConfig")
        .count();
    assert_eq!(refusals, 3, "refusals are written down");
}

#[tokio::test]
async fn health_and_reflection_take_any_certificate_of_the_authority() {
    let served = served().await;
    let node = cluster().client("cp2", "machined:node");
    let (channel, _) = channel(served.address, Some(&node)).await.unwrap();
    let service = "machine.v1.MachineService".to_owned();
    let health = HealthClient::new(channel.clone())
        .check(HealthCheckRequest { service })
        .await;
    assert_eq!(health.unwrap().into_inner().status, 1, "SERVING");

    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_response};
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([list]))
        .await;
    let answer = answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("{answer:?}");
    };
    assert!(
        list.service
            .iter()
            .any(|s| s.name == "machine.v1.MachineService")
    );
}

#[tokio::test]
async fn a_config_goes_its_whole_way() {
    let served = served().await;
    let mut client = client(&served, "machined:admin").await;
    let document = cluster()
        .control_plane
        .replacen("hostname: cp1", "hostname: cp2", 1);
    let request = v1::ApplyConfigRequest {
        document: document.into_bytes(),
        mode: v1::ApplyMode::Try.into(),
        expected_generation: 1,
        ..Default::default()
    };
    let applied = client
        .apply_config(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(applied.generation, 2);
    let stale = client.apply_config(request).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    let status = client
        .status(v1::StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(status.revert_at_ms > 0 && status.generation == 2 && !status.settled);
    let confirm = v1::ConfirmConfigRequest { generation: 2 };
    assert_eq!(
        client
            .confirm_config(confirm)
            .await
            .unwrap()
            .into_inner()
            .generation,
        2
    );
    let again = client.confirm_config(confirm).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    let back = v1::RollbackConfigRequest {
        generation: 1,
        expected_generation: 2,
    };
    assert_eq!(
        client
            .rollback_config(back)
            .await
            .unwrap()
            .into_inner()
            .generation,
        3
    );

    let told: Vec<_> = served
        .audit()
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            (
                text("method"),
                text("by"),
                text("role"),
                line["generation"].as_u64(),
            )
        })
        .collect();
    let line = |method: &str, generation| {
        (
            method.to_owned(),
            "alice".to_owned(),
            "admin".to_owned(),
            generation,
        )
    };
    assert_eq!(
        told,
        [
            line("ApplyConfig", Some(2)),
            line("ApplyConfig", None),
            line("ConfirmConfig", Some(2)),
            line("ConfirmConfig", None),
            line("RollbackConfig", Some(3)),
        ]
    );
    assert!(
        served.audit()[1]["result"]
            .as_str()
            .unwrap()
            .starts_with("Aborted: ")
    );
    let (events, _) = served.board.events_from(0);
    assert!(events.iter().any(|event| event.kind == "audit"));
}

#[tokio::test]
async fn an_oversized_message_is_refused() {
    let served = served().await;
    let mut client = client(&served, "machined:admin").await;
    let document = vec![b'#'; machined_proto::MESSAGE_LIMIT + 1];
    let request = v1::ApplyConfigRequest {
        document,
        ..Default::default()
    };
    let refused = client.apply_config(request).await.unwrap_err();
    assert!(
        matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{refused:?}"
    );
    assert_eq!(served.ledger.list().len(), 1);
}

#[tokio::test]
async fn bootstrap_is_ordered_once_and_never_over_data() {
    let served = served().await;
    let mut client = client(&served, "machined:admin").await;
    *served.hands.data.lock().unwrap() = Some("etcd data is here".to_owned());
    let refused = client.bootstrap(v1::BootstrapRequest {}).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::FailedPrecondition, "etcd data is here")
    );
    assert!(served.ledger.bootstrap_order().unwrap().is_none());

    *served.hands.data.lock().unwrap() = None;
    let order = client
        .bootstrap(v1::BootstrapRequest {})
        .await
        .unwrap()
        .into_inner()
        .order;
    // By now there is data: its own.
    *served.hands.data.lock().unwrap() = Some("etcd data is here".to_owned());
    let again = client
        .bootstrap(v1::BootstrapRequest {})
        .await
        .unwrap()
        .into_inner()
        .order;
    assert_eq!(order, again);
}

#[tokio::test]
async fn a_kubeconfig_is_made_and_written_down() {
    let served = served().await;
    let mut client = client(&served, "machined:admin").await;
    let request = v1::KubeconfigRequest {
        lifetime_seconds: 3600,
    };
    let made = client
        .kubeconfig(request)
        .await
        .unwrap()
        .into_inner()
        .kubeconfig;
    let text = String::from_utf8(made).unwrap();
    assert!(text.contains("https://10.0.2.15:6443") && text.contains("kubernetes-admin"));
    assert_eq!(served.audit().last().unwrap()["method"], "Kubeconfig");
    let short = v1::KubeconfigRequest {
        lifetime_seconds: 5,
    };
    let refused = client.kubeconfig(short).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn who_is_needed_after_all_stays_and_serves_again() {
    let served = served().await;
    *served.hands.needed_later.lock().unwrap() = Some("2 of 3 voters answer".to_owned());
    let mut client = client(&served, "machined:operator").await;
    client.reboot(v1::RebootRequest::default()).await.unwrap();
    let stays = async {
        while served
            .hands
            .done
            .lock()
            .unwrap()
            .last()
            .is_none_or(|last| last != "stay")
            || served.going.is_so()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), stays)
        .await
        .expect("it stays");
    let done = served.hands.done.lock().unwrap().clone();
    assert_eq!(done, ["drain 60", "controllers", "API server", "stay"]);
    assert_eq!(served.going.retire(), Retire::Nothing);
    let (events, _) = served.board.events_from(0);
    let called_off = events
        .iter()
        .any(|e| e.message.contains("called off: 2 of 3 voters"));
    assert!(called_off, "{events:?}");
}

#[tokio::test]
async fn a_reboot_is_answered_first_and_drains_before_it_goes() {
    let ends = ["controllers", "API server"];
    let drains = |seconds: &'static str| [&[seconds][..], &ends, &["reboot"]].concat();
    for (drain_seconds, force, stuck, expected) in [
        (0, false, None, drains("drain 60")),
        (5, false, None, drains("drain 5")),
        (5, true, None, vec!["reboot"]),
        (
            5,
            false,
            Some("no bus"),
            [drains("drain 5"), vec!["stay"]].concat(),
        ),
        (5, true, Some("no bus"), vec!["reboot", "stay"]),
    ] {
        let served = served().await;
        *served.hands.stuck.lock().unwrap() = stuck.map(str::to_owned);
        let mut client = client(&served, "machined:operator").await;
        let request = v1::RebootRequest {
            drain_seconds,
            force,
        };
        client.reboot(request).await.unwrap();
        assert!(served.hands.done.lock().unwrap().is_empty());
        assert_eq!(served.audit().last().unwrap()["method"], "Reboot");
        let acted = async {
            while served.hands.done.lock().unwrap().len() < expected.len() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), acted)
            .await
            .expect("it reboots");
        assert_eq!(*served.hands.done.lock().unwrap(), expected);
        // Who stays gives its turn back, who goes keeps it to the end.
        let settled = async {
            while served.going.is_so() == stuck.is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), settled)
            .await
            .expect("it is known whether it goes down");
        // The API server comes again where the machine stays.
        let retire = match force || stuck.is_some() {
            true => Retire::Nothing,
            false => Retire::ApiServer,
        };
        assert_eq!(served.going.retire(), retire);
    }
    let served = served().await;
    *served.hands.needed.lock().unwrap() = Some("1 of 3 voters".to_owned());
    let mut client = client(&served, "machined:operator").await;
    let request = v1::RebootRequest::default();
    let refused = client.reboot(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(served.audit().last().unwrap()["method"], "Reboot");
    assert!(!served.going.is_so());
    let request = v1::ShutdownRequest {
        drain_seconds: 3601,
        force: false,
    };
    let refused = client.shutdown(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_member_that_is_gone_is_taken_out_and_no_other() {
    use machine_plan::membership::{Member, MemberId};
    use machine_plan::observed::Probe;
    let served = served().await;
    let member = |id, applied| Member {
        id: MemberId(id),
        name: format!("cp{id}"),
        peer_urls: Vec::new(),
        learner: false,
        leader: id == 1,
        applied,
    };
    let silent = || Probe::Unreadable("no answer".to_owned());
    *served.hands.members.lock().unwrap() = vec![
        member(1, Probe::Seen(9)),
        member(2, Probe::Seen(9)),
        member(3, silent()),
    ];
    let mut reader = client(&served, "machined:reader").await;
    let listed = reader
        .etcd_members(v1::EtcdMembersRequest {})
        .await
        .unwrap();
    let silent: Vec<_> = listed
        .get_ref()
        .members
        .iter()
        .map(|m| &*m.silent)
        .collect();
    assert_eq!(silent, ["", "", "no answer"]);
    let request = |id, force| v1::EtcdRemoveMemberRequest { id, force };
    let refused = reader
        .etcd_remove_member(request(3, false))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let mut admin = client(&served, "machined:admin").await;
    for (id, force, why) in [
        (4, false, "etcd has no member 4"),
        (
            2,
            false,
            "there are 2 voters of which 1 answer, and 2 are needed",
        ),
        // With or without force: it would end the cluster.
        (
            2,
            true,
            "there are 2 voters of which 1 answer, and 2 are needed",
        ),
    ] {
        let refused = admin
            .etcd_remove_member(request(id, force))
            .await
            .unwrap_err();
        assert!(refused.message().contains(why), "{id}: {refused}");
    }
    assert!(served.hands.done.lock().unwrap().is_empty());
    // Without it and the one that leaves nobody is left who could change anything.
    *served.hands.turn.lock().unwrap() = Some(Turn {
        version: Turn::VERSION,
        holder: "cp2".to_owned(),
        member: MemberId(2),
        purpose: Purpose::Leave,
        boot: "b".to_owned(),
        since: 0,
        order: None,
    });
    let refused = admin.etcd_remove_member(request(3, false)).await;
    let why = refused.unwrap_err();
    assert!(
        why.message().contains("cp2 has the turn, to leave etcd"),
        "{why}"
    );
    assert!(served.hands.done.lock().unwrap().is_empty());
    *served.hands.turn.lock().unwrap() = None;
    admin.etcd_remove_member(request(3, false)).await.unwrap();
    assert_eq!(*served.hands.done.lock().unwrap(), ["remove cp3 3"]);
    let last = served.audit().pop().unwrap();
    assert_eq!(
        (&last["method"], &last["object"]),
        (&"EtcdRemoveMember".into(), &"member 3".into())
    );

    let all = (1..=3).map(|id| member(id, Probe::Seen(9)));
    *served.hands.members.lock().unwrap() = all.collect();
    let refused = admin
        .etcd_remove_member(request(2, false))
        .await
        .unwrap_err();
    assert!(refused.message().contains("cp2 answers"), "{refused}");
    admin.etcd_remove_member(request(2, true)).await.unwrap();

    let refused = reader
        .etcd_snapshot(v1::EtcdSnapshotRequest {})
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut parts = admin
        .etcd_snapshot(v1::EtcdSnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut data = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        data.extend(part.blob);
    }
    assert_eq!(data, b"some data");
    assert_eq!(served.audit().pop().unwrap()["method"], "EtcdSnapshot");
}

#[tokio::test]
async fn tokens_are_made_listed_and_deleted_and_are_in_no_log() {
    const TOKEN: &str = "abcdef.0123456789abcdef";
    let served = served().await;
    let request = |token: &str| v1::CreateTokenRequest {
        token: token.to_owned(),
        ..v1::CreateTokenRequest::default()
    };
    let mut operator = client(&served, "machined:operator").await;
    let refused = operator.create_token(request("")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = operator.list_tokens(v1::ListTokensRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);

    let mut admin = client(&served, "machined:admin").await;
    let made = admin.create_token(request(TOKEN)).await.unwrap();
    let made = made.into_inner();
    assert_eq!((&*made.token, &*made.endpoint), (TOKEN, "10.0.2.15:6443"));
    assert!(made.ca_hashes[0].starts_with("sha256:") && made.expires_ms > 0);
    let own = admin.create_token(request("")).await.unwrap().into_inner();
    let (id, _) = own.token.split_once('.').unwrap();
    let data = served.hands.tokens.lock().unwrap()[id]["data"].clone();
    assert_eq!(data["auth-extra-groups"].as_str().unwrap().len() % 4, 0);

    for (token, code) in [
        (TOKEN, Code::AlreadyExists),
        ("Abcdef.0123456789abcdef", Code::InvalidArgument),
    ] {
        let refused = admin.create_token(request(token)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(!refused.message().contains("0123456789"), "{refused}");
    }
    let listed = admin.list_tokens(v1::ListTokensRequest {}).await.unwrap();
    assert_eq!(listed.get_ref().tokens.len(), 2);
    let mut delete = async |id: &str| {
        let id = id.to_owned();
        let done = admin.delete_token(v1::DeleteTokenRequest { id }).await;
        done.map_or_else(|refused| refused.code(), |_| Code::Ok)
    };
    assert_eq!(delete(TOKEN).await, Code::InvalidArgument);
    assert_eq!(delete("abcdef").await, Code::Ok);
    assert_eq!(delete("abcdef").await, Code::NotFound);

    let objects = served.audit();
    let objects: Vec<_> = objects
        .iter()
        .filter_map(|line| line["object"].as_str())
        .collect();
    let own = format!("token {id}");
    let expected = [
        "token abcdef",
        &own,
        "token abcdef",
        "token",
        "token",
        "token abcdef",
        "token abcdef",
    ];
    assert_eq!(objects, expected);
    let told = format!("{:?} {:?}", served.audit(), served.board.events_from(0).0);
    assert!(!told.contains("0123456789"), "{told}");
}

#[tokio::test]
async fn services_outside_the_agents_care_are_not_restarted() {
    let served = served().await;
    let mut client = client(&served, "machined:operator").await;
    let mut code = async |name: &str| {
        let request = v1::RestartServiceRequest {
            name: name.to_owned(),
        };
        client.restart_service(request).await.unwrap_err().code()
    };
    assert_eq!(code("dbus-broker").await, Code::NotFound);
    assert_eq!(code("*").await, Code::InvalidArgument);
    assert!(served.hands.done.lock().unwrap().is_empty());
}

#[tokio::test]
async fn events_are_replayed_and_streams_end_with_the_server() {
    let served = served().await;
    served.board.emit("stage", "host", "settled");
    let mut client = client(&served, "machined:reader").await;
    let request = v1::EventsRequest {
        from: 1,
        follow: true,
    };
    let mut events = client.events(request).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().message, "settled");
    served.board.emit("stage", "host", "blocked");
    assert_eq!(events.message().await.unwrap().unwrap().number, 2);
    served.stop.cancel();
    assert!(events.message().await.unwrap().is_none());
    let ended = tokio::time::timeout(super::server::DRAIN, served.task).await;
    ended
        .expect("an open stream does not hold the server up")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn certificates_are_exchanged_while_serving() {
    let served = served().await;
    let mut before = client(&served, "machined:reader").await;
    before.version(v1::VersionRequest {}).await.unwrap();
    // Another authority altogether: the old one's clients keep only what they have.
    let other = Authority::generate(AuthorityKind::Machine, SystemTime::now()).unwrap();
    let mut fresh = cluster().node();
    fresh.client_authority_pem = Some(other.certificate_pem().to_owned());
    served.front.replace(&fresh).unwrap();
    let old = cluster().client("alice", "machined:admin");
    assert!(turned_away(&served, Some(&old)).await);
    let new = fixture::client(&other, "bob", "machined:reader");
    let (channel, _) = channel(served.address, Some(&new)).await.unwrap();
    Client::new(channel)
        .version(v1::VersionRequest {})
        .await
        .unwrap();
    before.version(v1::VersionRequest {}).await.unwrap();

    let mut broken = cluster().node();
    broken.key = machine_pki::Secret::new("no key".to_owned());
    assert!(served.front.replace(&broken).is_err());
    assert!(
        turned_away(&served, Some(&old)).await,
        "what was there stays"
    );
}
