//! A machine's API without a machine: real TLS, real gRPC, canned answers.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use machine_pki::code::{EnrolmentCode, Side};
use machine_pki::{Authority, AuthorityKind, Issued, LeafRequest, Usage};
use machined_proto::v1::enrolment_service_server::{EnrolmentService, EnrolmentServiceServer};
use machined_proto::v1::machine_service_server::{MachineService, MachineServiceServer};
use machined_proto::v1::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

/// How the machine behaves.
#[derive(Clone)]
pub enum Manner {
    /// Has a config; takes clients of this authority.
    Configured,
    /// Waits for its first config; takes clients of this authority.
    Credential,
    /// Waits for its first config and shows this code.
    Code(String),
    /// Pretends to be a machine with a code: sends the client's own proof back.
    Reflects,
}

/// What a machine was given, and where it is.
#[derive(Clone, Default)]
pub struct Seen {
    pub documents: Arc<Mutex<Vec<Vec<u8>>>>,
    pub proofs: Arc<Mutex<u32>>,
    pub snapshots: Arc<std::sync::atomic::AtomicU32>,
    /// What was done, by whom: several machines may share it.
    pub done: Arc<Mutex<Vec<String>>>,
    pub boots: Arc<std::sync::atomic::AtomicU32>,
    /// How often it was asked since it booted, or got a config.
    pub looks: Arc<std::sync::atomic::AtomicU32>,
    pub mood: Mood,
}

/// What becomes of what is asked of a machine.
#[derive(Clone, Copy, Default, PartialEq)]
#[allow(dead_code, reason = "each test file uses a part of this one")]
pub enum Mood {
    #[default]
    Well,
    /// It goes down only by force.
    Refuses,
    /// It is never well again.
    Sick,
}

#[derive(Clone)]
struct Fake {
    name: String,
    manner: Manner,
    seen: Seen,
}

pub fn authority() -> Authority {
    Authority::generate(AuthorityKind::Machine, SystemTime::now()).unwrap()
}

fn leaf(authority: &Authority, name: &str, organization: &str) -> Issued {
    let request = LeafRequest {
        common_name: name.into(),
        organizations: vec![organization.into()],
        usage: Usage::Server,
        dns: [name.to_owned()].into(),
        ips: Default::default(),
        lifetime: Duration::from_secs(3600),
    };
    authority.issue(&request, SystemTime::now()).unwrap()
}

impl Fake {
    fn done(&self, what: &str) {
        let line = format!("{} {what}", self.name);
        let mut done = self.seen.done.lock().unwrap();
        if done.last() != Some(&line) {
            done.push(line);
        }
    }

    fn goes_down(&self, force: bool) -> Result<(), Status> {
        if self.seen.mood == Mood::Refuses && !force {
            return Err(Status::failed_precondition("etcd would lose its quorum"));
        }
        self.seen.boots.fetch_add(1, Ordering::SeqCst);
        self.seen.looks.store(0, Ordering::SeqCst);
        Ok(())
    }

    /// Not at once, and not where it is sick since something was done to it.
    fn is_well(&self) -> bool {
        let looks = self.seen.looks.fetch_add(1, Ordering::SeqCst);
        let touched = !self.seen.done.lock().unwrap().is_empty();
        let sick = self.seen.mood == Mood::Sick && touched;
        let well = !sick && (looks > 0 || !touched);
        if well && touched {
            self.done("well");
        }
        well
    }
}

/// Starts a machine named `cp1` on a free port of the loopback address.
pub fn start(authority: &Authority, manner: Manner) -> (u16, Seen) {
    start_as(authority, "cp1", manner, Seen::default())
}

/// The same, of another name.
pub fn start_as(authority: &Authority, name: &str, manner: Manner, seen: Seen) -> (u16, Seen) {
    let organization = match manner {
        Manner::Configured => "machined:node",
        Manner::Credential => "machined:enrolment",
        _ => "machined:maintenance",
    };
    let issued = leaf(authority, name, organization);
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.expose().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let builder = match manner {
        Manner::Configured | Manner::Credential => {
            let mut roots = RootCertStore::empty();
            let pem = authority.certificate_pem().as_bytes();
            roots
                .add(CertificateDer::from_pem_slice(pem).unwrap())
                .unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let fake = Fake {
        name: name.to_owned(),
        manner,
        seen: seen.clone(),
    };
    let (send, port) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve(config, fake, send));
    });
    (port.recv().unwrap(), seen)
}

async fn serve(config: ServerConfig, fake: Fake, port: std::sync::mpsc::Sender<u16>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    port.send(listener.local_addr().unwrap().port()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (send, accepted) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, send) = (acceptor.clone(), send.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(tcp).await {
                    let _ = send
                        .send(Ok::<_, std::io::Error>(Accepted::new(stream)))
                        .await;
                }
            });
        }
    });
    let mut server = tonic::transport::Server::builder();
    let router = match fake.manner {
        Manner::Configured => server.add_service(MachineServiceServer::new(fake)),
        _ => server.add_service(EnrolmentServiceServer::new(fake)),
    };
    let incoming = tokio_stream::wrappers::ReceiverStream::new(accepted);
    router.serve_with_incoming(incoming).await.unwrap();
}

/// A TLS stream that tells its exporter to the calls that come over it.
struct Accepted {
    inner: TlsStream<tokio::net::TcpStream>,
    exporter: Exporter,
}

#[derive(Clone)]
struct Exporter([u8; 32]);

impl Accepted {
    fn new(inner: TlsStream<tokio::net::TcpStream>) -> Self {
        let label = b"EXPORTER-machined-enrolment";
        let exporter = inner
            .get_ref()
            .1
            .export_keying_material([0; 32], label, None)
            .unwrap();
        Self {
            inner,
            exporter: Exporter(exporter),
        }
    }
}

impl Connected for Accepted {
    type ConnectInfo = Exporter;
    fn connect_info(&self) -> Exporter {
        self.exporter.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, data)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(value: T) -> Answer<T> {
    Ok(Response::new(value))
}

#[tonic::async_trait]
impl EnrolmentService for Fake {
    async fn prove(&self, request: Request<ProveRequest>) -> Answer<ProveResponse> {
        *self.seen.proofs.lock().unwrap() += 1;
        let Exporter(exporter) = request.extensions().get::<Exporter>().unwrap().clone();
        let proof = request.into_inner().proof;
        let Manner::Code(code) = &self.manner else {
            return answer(ProveResponse { proof });
        };
        let code = EnrolmentCode::parse(code).unwrap();
        if !code.verify(Side::Client, &exporter, &proof) {
            return Err(Status::permission_denied("the proof does not fit"));
        }
        answer(ProveResponse {
            proof: code.proof(Side::Machine, &exporter).to_vec(),
        })
    }
    async fn enrol(&self, request: Request<EnrolRequest>) -> Answer<EnrolResponse> {
        self.seen
            .documents
            .lock()
            .unwrap()
            .push(request.into_inner().document);
        answer(EnrolResponse { generation: 1 })
    }
}

type Stream<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

fn stream<T: Send + 'static>(items: Vec<T>) -> Answer<Stream<T>> {
    answer(Box::pin(tokio_stream::iter(items.into_iter().map(Ok))))
}

#[tonic::async_trait]
impl MachineService for Fake {
    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        answer(VersionResponse {
            version: "9.9.9".into(),
            role: "controlplane".into(),
            kubernetes_version: "v1.20.2".into(),
            boot_id: self.seen.boots.load(Ordering::SeqCst).to_string(),
            ..Default::default()
        })
    }
    async fn apply_config(
        &self,
        request: Request<ApplyConfigRequest>,
    ) -> Answer<ApplyConfigResponse> {
        let request = request.into_inner();
        if request.expected_generation == 7 {
            return Err(Status::failed_precondition(
                "the newest generation is 2, not 7",
            ));
        }
        self.seen.documents.lock().unwrap().push(request.document);
        self.seen.looks.store(0, Ordering::SeqCst);
        self.done("apply");
        answer(ApplyConfigResponse {
            generation: 2,
            changed: true,
            ..Default::default()
        })
    }
    async fn confirm_config(
        &self,
        _: Request<ConfirmConfigRequest>,
    ) -> Answer<ConfirmConfigResponse> {
        Err(Status::failed_precondition("no config is being tried"))
    }
    async fn get_config(&self, request: Request<GetConfigRequest>) -> Answer<GetConfigResponse> {
        let generation = match request.into_inner().generation {
            0 => 2,
            asked => asked,
        };
        let document = format!("same: line\ngeneration: {generation}\n");
        answer(GetConfigResponse {
            generation,
            document,
        })
    }
    async fn list_generations(
        &self,
        _: Request<ListGenerationsRequest>,
    ) -> Answer<ListGenerationsResponse> {
        let one = |number| Generation {
            number,
            state: "confirmed".into(),
            ..Default::default()
        };
        answer(ListGenerationsResponse {
            generations: vec![one(1), one(2)],
        })
    }
    async fn rollback_config(
        &self,
        _: Request<RollbackConfigRequest>,
    ) -> Answer<RollbackConfigResponse> {
        answer(RollbackConfigResponse { generation: 3 })
    }
    async fn bootstrap(&self, _: Request<BootstrapRequest>) -> Answer<BootstrapResponse> {
        answer(BootstrapResponse {
            order: "order-1".into(),
        })
    }
    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        let well = self.is_well();
        answer(StatusResponse {
            hostname: self.name.clone(),
            role: "controlplane".into(),
            generation: 2,
            settled: well,
            node_ready: well,
            ..Default::default()
        })
    }
    async fn inspect(&self, _: Request<InspectRequest>) -> Answer<InspectResponse> {
        answer(InspectResponse {
            json: r#"{"stages":[]}"#.into(),
        })
    }
    type EventsStream = Stream<Event>;
    async fn events(&self, _: Request<EventsRequest>) -> Answer<Self::EventsStream> {
        let event = |number, kind: &str| Event {
            number,
            kind: kind.into(),
            ..Default::default()
        };
        stream(vec![event(1, "config"), event(2, "audit")])
    }
    async fn list_services(&self, _: Request<ListServicesRequest>) -> Answer<ListServicesResponse> {
        answer(ListServicesResponse::default())
    }
    async fn etcd_members(&self, _: Request<EtcdMembersRequest>) -> Answer<EtcdMembersResponse> {
        let member = |id, name: &str, silent: &str| EtcdMember {
            id,
            name: name.into(),
            peer_urls: vec![format!("https://{name}:2380")],
            leader: id == 0xa,
            silent: silent.into(),
            ..Default::default()
        };
        let members = vec![member(0xa, "cp1", ""), member(0xb, "cp2", "no answer")];
        answer(EtcdMembersResponse { members })
    }
    async fn etcd_remove_member(
        &self,
        request: Request<EtcdRemoveMemberRequest>,
    ) -> Answer<EtcdRemoveMemberResponse> {
        match request.into_inner().id {
            0xb => answer(EtcdRemoveMemberResponse { name: "cp2".into() }),
            _ => Err(Status::failed_precondition("cp1 answers")),
        }
    }
    async fn etcd_forfeit_leadership(
        &self,
        _: Request<EtcdForfeitLeadershipRequest>,
    ) -> Answer<EtcdForfeitLeadershipResponse> {
        answer(EtcdForfeitLeadershipResponse {
            leader: "cp2".into(),
        })
    }
    type EtcdSnapshotStream = Stream<EtcdSnapshotResponse>;
    async fn etcd_snapshot(
        &self,
        _: Request<EtcdSnapshotRequest>,
    ) -> Answer<Self::EtcdSnapshotStream> {
        use sha2::Digest;
        let data = vec![7; 4096];
        let mut digest = sha2::Sha256::digest(&data).to_vec();
        // The second one breaks off.
        if self
            .seen
            .snapshots
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst)
            > 0
        {
            digest.pop();
        }
        let part = |blob| EtcdSnapshotResponse {
            blob,
            remaining_bytes: 0,
        };
        stream(vec![part(data), part(digest)])
    }
    async fn etcd_status(&self, _: Request<EtcdStatusRequest>) -> Answer<EtcdStatusResponse> {
        let member = |name: &str, silent: &str| EtcdMemberStatus {
            member: Some(EtcdMember {
                name: name.into(),
                silent: silent.into(),
                ..Default::default()
            }),
            version: "3.5.16".into(),
            db_bytes: 3 << 19,
            ..Default::default()
        };
        let finding = EtcdFinding {
            cause: "cp2 does not answer".into(),
            next_step: "machinectl etcd remove cp2".into(),
        };
        answer(EtcdStatusResponse {
            members: vec![member("cp1", ""), member("cp2", "no answer")],
            findings: vec![finding],
            advice: vec!["two voters outlive none".into()],
            ..Default::default()
        })
    }
    async fn etcd_alarms(&self, request: Request<EtcdAlarmsRequest>) -> Answer<EtcdAlarmsResponse> {
        let request = request.into_inner();
        if request.disarm && !request.force {
            return Err(Status::failed_precondition("machinectl etcd defrag first"));
        }
        let alarm = EtcdAlarm {
            member_id: 0xa,
            member: "cp1".into(),
            alarm: "NOSPACE".into(),
        };
        answer(EtcdAlarmsResponse {
            alarms: vec![alarm],
        })
    }
    type EtcdDefragmentStream = Stream<EtcdDefragmentResponse>;
    async fn etcd_defragment(
        &self,
        request: Request<EtcdDefragmentRequest>,
    ) -> Answer<Self::EtcdDefragmentStream> {
        let told = |member: String| EtcdDefragmentResponse {
            member,
            message: "done".into(),
        };
        stream(request.into_inner().members.into_iter().map(told).collect())
    }
    async fn etcd_leave(&self, request: Request<EtcdLeaveRequest>) -> Answer<EtcdLeaveResponse> {
        let word = if request.into_inner().discard {
            "discard"
        } else {
            "leave"
        };
        answer(EtcdLeaveResponse {
            order: format!("{word}-7"),
        })
    }
    async fn etcd_join(&self, _: Request<EtcdJoinRequest>) -> Answer<EtcdJoinResponse> {
        answer(EtcdJoinResponse {})
    }
    async fn etcd_recover(
        &self,
        request: Request<tonic::Streaming<EtcdRecoverRequest>>,
    ) -> Answer<EtcdRecoverResponse> {
        use etcd_recover_request::Part;
        use sha2::Digest;
        let mut parts = request.into_inner();
        let Some(Part::Wish(wish)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(Status::invalid_argument("no wish"));
        };
        let mut sent = Vec::new();
        while let Some(Part::Blob(blob)) = parts.message().await?.and_then(|more| more.part) {
            sent.extend(blob);
        }
        let digest = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(&sent));
        let came = wish.dry_run || wish.sha256.is_empty() || digest == wish.sha256;
        let refused = match wish.sha256.as_str() {
            "" if !wish.force => "cp2 still answers",
            _ => "",
        };
        answer(EtcdRecoverResponse {
            order: format!("recover-{came}"),
            refused: refused.into(),
            explanation: vec!["cp1 becomes its only member".into()],
        })
    }
    async fn restart_service(
        &self,
        _: Request<RestartServiceRequest>,
    ) -> Answer<RestartServiceResponse> {
        Err(Status::permission_denied("reader may not restart services"))
    }
    type LogsStream = Stream<LogLine>;
    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        let unit = request.into_inner().unit;
        stream(vec![LogLine {
            message: format!("hello from {unit}"),
            ..Default::default()
        }])
    }
    type DmesgStream = Stream<LogLine>;
    async fn dmesg(&self, _: Request<DmesgRequest>) -> Answer<Self::DmesgStream> {
        stream(Vec::new())
    }
    async fn sign_certificate(
        &self,
        _: Request<SignCertificateRequest>,
    ) -> Answer<SignCertificateResponse> {
        Err(Status::permission_denied("for machines"))
    }

    async fn kubeconfig(&self, _: Request<KubeconfigRequest>) -> Answer<KubeconfigResponse> {
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: admin@demo\n\
            clusters: [{name: demo, cluster: {server: 'https://10.0.2.15:6443', \
            certificate-authority-data: Y2E=}}]\n\
            contexts: [{name: admin@demo, context: {cluster: demo, user: admin}}]\n\
            users: [{name: admin, user: {client-key-data: aw==}}]\n";
        answer(KubeconfigResponse {
            kubeconfig: text.into(),
        })
    }
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Answer<CreateTokenResponse> {
        let request = request.into_inner();
        let token = match request.token.as_str() {
            "" => "abcdef.0123456789abcdef".to_owned(),
            "taken0.0123456789abcdef" => {
                return Err(Status::already_exists(
                    "there is another token taken0 already",
                ));
            }
            token => token.to_owned(),
        };
        answer(CreateTokenResponse {
            token,
            expires_ms: 1000 * i64::from(request.lifetime_seconds),
            endpoint: "10.0.2.15:6443".into(),
            ca_hashes: vec![format!("sha256:{}", "0f".repeat(32))],
            usages: request.usages,
            groups: request.groups,
        })
    }
    async fn list_tokens(&self, _: Request<ListTokensRequest>) -> Answer<ListTokensResponse> {
        let token = |id: &str, expires_ms| Token {
            id: id.into(),
            expires_ms,
            usages: vec!["signing".into(), "authentication".into()],
            ..Default::default()
        };
        let tokens = vec![token("abcdef", 0), token("fedcba", 1000)];
        answer(ListTokensResponse { tokens })
    }
    async fn delete_token(
        &self,
        request: Request<DeleteTokenRequest>,
    ) -> Answer<DeleteTokenResponse> {
        match request.into_inner().id.as_str() {
            "abcdef" => answer(DeleteTokenResponse {}),
            id => Err(Status::not_found(format!("there is no token {id}"))),
        }
    }
    async fn reboot(&self, request: Request<RebootRequest>) -> Answer<RebootResponse> {
        self.goes_down(request.into_inner().force)?;
        self.done("reboot");
        answer(RebootResponse {})
    }
    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Answer<ShutdownResponse> {
        self.goes_down(request.into_inner().force)?;
        self.done("shutdown");
        answer(ShutdownResponse {})
    }
}
