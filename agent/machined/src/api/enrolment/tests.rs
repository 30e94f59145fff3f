use machine_pki::code::{EnrolmentCode, Side};
use machined_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use machined_proto::v1::machine_service_client::MachineServiceClient;
use prost::Message;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tonic::Code;
use tonic::transport::Channel;

use super::*;
use crate::api::fixture::{self, channel, cluster};
use crate::status::Board;

type Codes = Arc<std::sync::Mutex<Vec<EnrolmentCode>>>;

struct Maintained {
    address: std::net::SocketAddr,
    codes: Codes,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
    task: JoinHandle<Result<Ended, ApiError>>,
    directory: tempfile::TempDir,
}

async fn with(anchor: Anchor, codes: Codes) -> Maintained {
    let directory = tempfile::tempdir().unwrap();
    let ledger = fixture::ledger(directory.path());
    let board = Arc::new(Board::default());
    let audit = Audit::new(&directory.path().join("audit.log"), Arc::clone(&board));
    let (listener, address) = fixture::listener().await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(maintain(
        listener,
        anchor,
        Arc::clone(&ledger),
        audit,
        Arc::clone(&board),
        stop.clone(),
    ));
    Maintained {
        address,
        codes,
        ledger,
        stop,
        task,
        directory,
    }
}

async fn by_a_code() -> Maintained {
    let codes = Codes::default();
    let keep = Arc::clone(&codes);
    let show = Box::new(move |code: &EnrolmentCode| keep.lock().unwrap().push(code.clone()));
    let maintained = with(Anchor::Code { show }, codes).await;
    while maintained.codes.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    maintained
}

impl Maintained {
    fn code(&self) -> EnrolmentCode {
        self.codes.lock().unwrap().last().unwrap().clone()
    }

    fn audit(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap_or_default()
    }
}

type Client = EnrolmentServiceClient<Channel>;

async fn prove(client: &mut Client, proof: &[u8]) -> Result<Vec<u8>, Status> {
    let request = v1::ProveRequest {
        proof: proof.to_vec(),
    };
    client
        .prove(request)
        .await
        .map(|response| response.into_inner().proof)
}

async fn enrol(client: &mut Client, document: &str, dry_run: bool) -> Result<u64, Status> {
    let request = v1::EnrolRequest {
        document: document.as_bytes().to_vec(),
        dry_run,
        sent_ms: 1_700_000_000_000,
    };
    client
        .enrol(request)
        .await
        .map(|response| response.into_inner().generation)
}

#[tokio::test]
async fn by_code_from_end_to_end() {
    let machine = by_a_code().await;
    let (channel_, exporter) = channel(machine.address, None).await.unwrap();
    let mut client = Client::new(channel_);
    let code = machine.code();

    let answer = prove(&mut client, &code.proof(Side::Client, &exporter))
        .await
        .unwrap();
    assert!(
        code.verify(Side::Machine, &exporter, &answer),
        "the machine proves itself too"
    );

    assert_eq!(
        enrol(&mut client, &cluster().control_plane, true)
            .await
            .unwrap(),
        0
    );
    assert!(
        machine.ledger.current().is_none(),
        "a dry run stores nothing"
    );

    let refused = enrol(
        &mut client,
        "apiVersion: machined/v1\nkind: MachineConfig\nx: 1\n",
        false,
    )
    .await
    .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let problems = v1::Problems::decode(refused.details()).unwrap().problems;
    assert!(problems.len() > 1, "all problems at once: {problems:?}");
    assert!(problems.iter().any(|p| p.line == 3), "{problems:?}");

    let refused = enrol(&mut client, &cluster().config, false)
        .await
        .unwrap_err();
    assert_eq!(
        refused.code(),
        Code::FailedPrecondition,
        "no machine authority"
    );

    assert_eq!(
        enrol(&mut client, &cluster().control_plane, false)
            .await
            .unwrap(),
        1
    );
    let ended = machine.task.await.unwrap().unwrap();
    assert_eq!(ended, Ended::Enrolled { generation: 1 });
    let current = machine.ledger.current().unwrap();
    assert_eq!(current.generation.by, "enrolment code");
    assert_eq!(current.generation.sent_ms, Some(1_700_000_000_000));
    assert_eq!(current.text.expose(), cluster().control_plane);
    let audit = std::fs::read_to_string(machine.directory.path().join("audit.log")).unwrap();
    assert!(
        audit.lines().last().unwrap().contains("\"generation\":1"),
        "{audit}"
    );
    assert!(!audit.contains("PRIVATE KEY") && !audit.contains(&code.to_string()));
}

#[tokio::test]
async fn a_stranger_is_not_even_read() {
    let machine = by_a_code().await;
    let (channel_, exporter) = channel(machine.address, None).await.unwrap();
    let mut client = Client::new(channel_.clone());
    // Nonsense and a good document get the same answer: neither was looked at.
    for document in ["nonsense: [", &cluster().control_plane] {
        for dry_run in [true, false] {
            let refused = enrol(&mut client, document, dry_run).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated);
            assert!(refused.details().is_empty());
        }
    }
    let other = MachineServiceClient::new(channel_)
        .version(v1::VersionRequest {})
        .await;
    assert_eq!(other.unwrap_err().code(), Code::Unauthenticated);

    let long = prove(&mut client, &[0; PROOF_LIMIT + 1]).await.unwrap_err();
    assert!(
        matches!(long.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{long:?}"
    );
    let wrong = EnrolmentCode::generate()
        .unwrap()
        .proof(Side::Client, &exporter);
    assert_eq!(
        prove(&mut client, &wrong).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let refused = enrol(&mut client, &cluster().control_plane, false)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(machine.ledger.current().is_none());
    assert!(
        machine.audit().contains("stranger"),
        "wrong proofs are written down"
    );
}

#[tokio::test]
async fn a_proof_belongs_to_one_connection() {
    let machine = by_a_code().await;
    let (first, exporter) = channel(machine.address, None).await.unwrap();
    let (second, _) = channel(machine.address, None).await.unwrap();
    let proof = machine.code().proof(Side::Client, &exporter);
    prove(&mut Client::new(first), &proof).await.unwrap();

    let mut second = Client::new(second);
    let refused = enrol(&mut second, &cluster().control_plane, false)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let replayed = prove(&mut second, &proof).await.unwrap_err();
    assert_eq!(replayed.code(), Code::Unauthenticated);
}

/// Sits between the two with a certificate of its own and passes on what both say.
async fn man_in_the_middle(
    machine: std::net::SocketAddr,
    seen: tokio::sync::oneshot::Sender<[u8; 32]>,
) -> std::net::SocketAddr {
    let (listener, address) = fixture::listener().await;
    tokio::spawn(async move {
        let front = Front::new(
            &Credentials::ephemeral(SystemTime::now()).unwrap(),
            Arc::default(),
        )
        .unwrap();
        let (victim, _) = listener.accept().await.unwrap();
        let mut victim = TlsAcceptor::from(front.present())
            .accept(victim)
            .await
            .unwrap();
        let mut machine = fixture::connect(machine, &fixture::tls(None))
            .await
            .unwrap();
        let _ = seen.send(fixture::exporter(machine.get_ref().1));
        let _ = tokio::io::copy_bidirectional(&mut victim, &mut machine).await;
    });
    address
}

#[tokio::test]
async fn a_man_in_the_middle_convinces_neither_side() {
    let machine = by_a_code().await;
    let (seen, sees) = tokio::sync::oneshot::channel();
    let proxy = man_in_the_middle(machine.address, seen).await;
    let (channel_, exporter) = channel(proxy, None).await.unwrap();
    let mut client = Client::new(channel_);
    let code = machine.code();

    // The machine does not take the operator's proof: it was made for another connection.
    let refused = prove(&mut client, &code.proof(Side::Client, &exporter))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = enrol(&mut client, &cluster().control_plane, false)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(machine.ledger.current().is_none());

    // Nor would the operator take the machine's, had it been made for the man in the middle.
    let theirs = sees.await.unwrap();
    assert_ne!(theirs, exporter);
    assert!(!code.verify(
        Side::Machine,
        &exporter,
        &code.proof(Side::Machine, &theirs)
    ));
}

#[tokio::test]
async fn a_used_code_is_refused() {
    let machine = by_a_code().await;
    let (first, exporter) = channel(machine.address, None).await.unwrap();
    let (second, other) = channel(machine.address, None).await.unwrap();
    let (mut first, mut second) = (Client::new(first), Client::new(second));
    let code = machine.code();
    prove(&mut first, &code.proof(Side::Client, &exporter))
        .await
        .unwrap();
    prove(&mut second, &code.proof(Side::Client, &other))
        .await
        .unwrap();
    // Two at once: one is first, the other is told, or finds the server gone.
    let document = &cluster().control_plane;
    let (one, two) = tokio::join!(
        enrol(&mut first, document, false),
        enrol(&mut second, document, false)
    );
    assert_eq!(
        u8::from(one.is_ok()) + u8::from(two.is_ok()),
        1,
        "{one:?} {two:?}"
    );
    assert_eq!(
        machine.task.await.unwrap().unwrap(),
        Ended::Enrolled { generation: 1 }
    );
    assert_eq!(machine.ledger.list().len(), 1);
    assert!(
        channel(machine.address, None).await.is_err(),
        "nobody listens any more"
    );
}

fn anchor() -> Anchor {
    Anchor::Credential(cluster().node())
}

#[tokio::test]
async fn by_credential_only_an_administrator_enrols() {
    let machine = with(anchor(), Codes::default()).await;
    assert!(
        refused_by_tls(machine.address, None).await,
        "no certificate"
    );
    let stranger =
        machine_pki::Authority::generate(machine_pki::AuthorityKind::Machine, SystemTime::now())
            .unwrap();
    let forged = fixture::client(&stranger, "eve", "machined:admin");
    assert!(
        refused_by_tls(machine.address, Some(&forged)).await,
        "another authority"
    );

    let operator = cluster().client("olga", "machined:operator");
    let (channel_, _) = channel(machine.address, Some(&operator)).await.unwrap();
    let refused = enrol(&mut Client::new(channel_), "nonsense: [", false)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let admin = cluster().client("alice", "machined:admin");
    let (channel_, exporter) = channel(machine.address, Some(&admin)).await.unwrap();
    let mut client = Client::new(channel_);
    let refused = prove(&mut client, &exporter).await.unwrap_err();
    assert_eq!(
        refused.code(),
        Code::FailedPrecondition,
        "there is no code to prove"
    );
    assert_eq!(
        enrol(&mut client, &cluster().control_plane, false)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        machine.task.await.unwrap().unwrap(),
        Ended::Enrolled { generation: 1 }
    );
    assert_eq!(machine.ledger.current().unwrap().generation.by, "alice");
}

/// With TLS 1.3 the client's side of the handshake ends before the server has judged the
/// certificate: the refusal shows in the first call.
async fn refused_by_tls(
    address: std::net::SocketAddr,
    certificate: Option<&machine_pki::Issued>,
) -> bool {
    match channel(address, certificate).await {
        Err(_) => true,
        Ok((channel_, _)) => {
            let refused = enrol(&mut Client::new(channel_), "", true)
                .await
                .unwrap_err();
            matches!(
                refused.code(),
                Code::Unknown | Code::Unavailable | Code::Cancelled
            )
        }
    }
}

#[tokio::test]
async fn an_oversized_message_is_refused() {
    let machine = with(anchor(), Codes::default()).await;
    let admin = cluster().client("alice", "machined:admin");
    let (channel_, _) = channel(machine.address, Some(&admin)).await.unwrap();
    let mut client = Client::new(channel_);
    let huge = "#".repeat(machined_proto::MESSAGE_LIMIT + 1);
    let refused = enrol(&mut client, &huge, false).await.unwrap_err();
    assert!(
        matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{refused:?}"
    );
    let large = "#".repeat(machined_proto::DOCUMENT_LIMIT + 1);
    let refused = enrol(&mut client, &large, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    machine.stop.cancel();
    assert_eq!(machine.task.await.unwrap().unwrap(), Ended::Stopped);
}

#[tokio::test]
async fn more_problems_than_fit_are_counted() {
    let machine = with(anchor(), Codes::default()).await;
    let admin = cluster().client("alice", "machined:admin");
    let (channel_, _) = channel(machine.address, Some(&admin)).await.unwrap();
    let unknown: String = (0..500).map(|n| format!("unknownKey{n}: {n}\n")).collect();
    let document = format!("{}{unknown}", cluster().config);
    let refused = enrol(&mut Client::new(channel_), &document, true)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let problems = v1::Problems::decode(refused.details()).unwrap().problems;
    assert!(problems.len() > 20, "{}", problems.len());
    assert!(
        problems.last().unwrap().message.contains("more problems"),
        "{problems:?}"
    );
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_the_server_up() {
    let machine = by_a_code().await;
    let _silent = fixture::connect(machine.address, &fixture::tls(None))
        .await
        .unwrap();
    let _mute = tokio::net::TcpStream::connect(machine.address)
        .await
        .unwrap();
    machine.stop.cancel();
    let ended = tokio::time::timeout(2 * server::DRAIN, machine.task).await;
    assert_eq!(ended.expect("it ends").unwrap().unwrap(), Ended::Stopped);
}

#[tokio::test]
async fn a_caller_who_hangs_up_changes_nothing_half() {
    let machine = by_a_code().await;
    let (channel_, exporter) = channel(machine.address, None).await.unwrap();
    let mut client = Client::new(channel_);
    let code = machine.code();
    prove(&mut client, &code.proof(Side::Client, &exporter))
        .await
        .unwrap();
    // Hung up on as soon as the document is on its way: whatever arrived is finished.
    let call = async move { enrol(&mut client, &cluster().control_plane, false).await };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(3), call).await;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(2), machine.task).await;
    match ended {
        Ok(ended) => {
            assert_eq!(ended.unwrap().unwrap(), Ended::Enrolled { generation: 1 });
            assert!(machine.ledger.current().is_some());
        }
        Err(_) => assert!(machine.ledger.current().is_none()),
    }
}
