//! What tests of the API share: a cluster's documents and certificates, a ledger in a temporary
//! folder, and clients that speak real TLS over loopback.

mod hands;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use machine_config::generate::{self, ClusterDescription, NodeDescription, NodeDocuments};
use machine_config::{ClusterSecrets, EtcdClient, Role};
use machine_pki::{Authority, AuthorityKind, Issued, LeafRequest, Secret, Usage};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::peer::{EXPORTER_LABEL, EXPORTER_LENGTH};
use super::{Audit, Credentials, Hands, Parts};
use crate::going::GoingDown;
use crate::journal::Journal;
use crate::ledger::{Acceptance, Ledger, Mode};
use crate::reconcile::Wake;
use crate::status::Board;
pub(crate) use hands::FakeHands;

/// One cluster's authority and documents, made once: keys are slow to make.
pub(crate) struct Cluster {
    pub(crate) authority: Authority,
    pub(crate) control_plane: String,
    pub(crate) worker: String,
    /// The control plane's document without its secrets.
    pub(crate) config: String,
}

/// A cluster's secrets and the documents of its machines cp1 and w1.
pub(crate) fn documents(endpoint: &str) -> (ClusterSecrets, [NodeDocuments; 2]) {
    documents_on(endpoint, None)
}

/// The same, where etcd may be somebody else's, at this URL.
pub(crate) fn documents_on(
    endpoint: &str,
    etcd: Option<(String, EtcdClient)>,
) -> (ClusterSecrets, [NodeDocuments; 2]) {
    let (url, client) = etcd.unzip();
    let secrets = generate::secrets_with(client, SystemTime::now()).unwrap();
    let secrets = machine_config::read_secrets(secrets.expose().as_bytes()).unwrap();
    let node = |hostname: &str, role| NodeDescription {
        hostname: hostname.to_owned(),
        role,
    };
    let description = ClusterDescription {
        name: "demo".to_owned(),
        endpoint: endpoint.to_owned(),
        kubernetes_version: "v1.20.2".to_owned(),
        nodes: vec![node("cp1", Role::ControlPlane), node("w1", Role::Worker)],
        etcd_endpoints: url.into_iter().collect(),
        ..ClusterDescription::default()
    };
    let nodes = generate::documents(&description, &secrets, SystemTime::now()).unwrap();
    (secrets, nodes.try_into().unwrap())
}

impl Cluster {
    fn make() -> Self {
        let (secrets, [node, worker]) = documents("10.0.2.15:6443");
        let worker = worker.stream().expose().to_owned();
        let pair = &secrets.machine_ca;
        let key = pair.key.as_ref().unwrap();
        Self {
            authority: Authority::from_pem(AuthorityKind::Machine, &pair.certificate, key).unwrap(),
            control_plane: node.stream().expose().to_owned(),
            worker,
            config: node.config,
        }
    }

    /// What a machine of this name shows.
    pub(crate) fn machine(&self, name: &str) -> Issued {
        let request = request(name, machine_config::MACHINE_GROUP, Usage::Both);
        self.authority.issue(&request, SystemTime::now()).unwrap()
    }

    pub(crate) fn client(&self, name: &str, organization: &str) -> Issued {
        client(&self.authority, name, organization)
    }

    pub(crate) fn node(&self) -> Credentials {
        let issued = self.machine("cp1");
        Credentials {
            certificate_pem: issued.certificate_pem,
            key: issued.key,
            client_authority_pem: Some(self.authority.certificate_pem().to_owned()),
        }
    }
}

pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::make)
}

pub(crate) fn client(authority: &Authority, name: &str, organization: &str) -> Issued {
    authority
        .issue(
            &request(name, organization, Usage::Client),
            SystemTime::now(),
        )
        .unwrap()
}

/// An administrator's certificate for the hour that begins then.
pub(crate) fn admin_from(authority: &Authority, begin: SystemTime) -> Issued {
    let request = request("alice", "machined:admin", Usage::Client);
    authority.issue(&request, begin).unwrap()
}

fn request(name: &str, organization: &str, usage: Usage) -> LeafRequest {
    LeafRequest {
        common_name: name.to_owned(),
        organizations: vec![organization.to_owned()],
        usage,
        dns: ["machine".to_owned()].into(),
        ips: [std::net::Ipv4Addr::LOCALHOST.into()].into(),
        lifetime: Duration::from_secs(3600),
    }
}

pub(crate) fn ledger(directory: &Path) -> Arc<Ledger> {
    Arc::new(Ledger::open(&directory.join("ledger"), crate::boot::clock()).unwrap())
}

/// A ledger with the control plane's document as generation 1.
pub(crate) fn configured(directory: &Path) -> Arc<Ledger> {
    enrolled(directory, &cluster().control_plane)
}

/// A ledger with a document as generation 1.
pub(crate) fn enrolled(directory: &Path, text: &str) -> Arc<Ledger> {
    let (ledger, text) = (ledger(directory), text.to_owned());
    let bundle = machine_config::read(text.as_bytes()).unwrap();
    let by = "test".to_owned();
    ledger
        .accept(Acceptance {
            text,
            bundle,
            sent_ms: None,
            by,
            mode: Mode::Auto,
            expected: None,
        })
        .unwrap();
    ledger
}

/// A running API of a configured machine.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) board: Arc<Board>,
    pub(crate) hands: Arc<FakeHands>,
    pub(crate) going: GoingDown,
    pub(crate) front: Arc<super::Front>,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) stop: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<Result<(), super::ApiError>>,
}

pub(crate) async fn served() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, board) = (configured(directory.path()), Arc::new(Board::default()));
    let hands = Arc::new(FakeHands::default());
    let audit = Audit::new(&directory.path().join("audit.log"), Arc::clone(&board));
    let going = GoingDown::default();
    let parts = Parts {
        ledger: Arc::clone(&ledger),
        board: Arc::clone(&board),
        wake: Wake::default(),
        hands: Arc::clone(&hands) as Arc<dyn Hands>,
        going: going.clone(),
        audit,
        journal: Journal::default(),
    };
    let (listener, address) = listener().await;
    let front = Arc::new(super::Front::new(&cluster().node(), Arc::clone(&board)).unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn(super::serve(
        listener,
        Arc::clone(&front),
        parts,
        stop.clone(),
    ));
    Served {
        address,
        ledger,
        board,
        hands,
        going,
        front,
        directory,
        stop,
        task,
    }
}

impl Served {
    pub(crate) fn audit(&self) -> Vec<serde_json::Value> {
        let text =
            std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) async fn listener() -> (Arc<TcpListener>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Arc::new(listener), address)
}

/// A client's TLS: it believes any server, as a client with a code does.
pub(crate) fn tls(certificate: Option<&Issued>) -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match certificate {
        Some(issued) => {
            builder.with_client_auth_cert(chain(&issued.certificate_pem), key(&issued.key))
        }
        None => Ok(builder.with_no_client_auth()),
    }
    .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

pub(crate) async fn connect(
    address: SocketAddr,
    tls: &TlsConnector,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("machine").unwrap();
    tls.connect(name, stream).await
}

pub(crate) fn exporter<T>(session: &rustls::ConnectionCommon<T>) -> [u8; EXPORTER_LENGTH] {
    session
        .export_keying_material([0; EXPORTER_LENGTH], EXPORTER_LABEL, None)
        .unwrap()
}

/// One connection as a channel, and its exporter. It does not reconnect: proofs belong to it.
pub(crate) async fn channel(
    address: SocketAddr,
    certificate: Option<&Issued>,
) -> Result<(Channel, [u8; EXPORTER_LENGTH]), Box<dyn std::error::Error>> {
    let stream = connect(address, &tls(certificate)).await?;
    let exporter = exporter(stream.get_ref().1);
    let once = Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = once.lock().unwrap().take();
        async move {
            stream
                .map(TokioIo::new)
                .ok_or_else(|| std::io::Error::other("closed"))
        }
    });
    let endpoint = Endpoint::from_static("http://machine").timeout(Duration::from_secs(30));
    Ok((endpoint.connect_with_connector(connector).await?, exporter))
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap()
}

fn key(pem: &Secret) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).unwrap()
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
