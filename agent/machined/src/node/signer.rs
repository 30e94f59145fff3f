//! Asking the cluster's control plane for a signature, over its machine API.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use hyper_util::rt::TokioIo;
use machine_config::{ClusterSecrets, MachineIdentity};
use machine_pki::SigningRequest;
use machined_proto::v1;
use machined_proto::v1::machine_service_client::MachineServiceClient;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// The longest that connecting may take, and one call: generous, since a control
/// plane may be starting on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a control plane machine.
pub struct Link {
    /// Its address, for messages.
    pub at: String,
    channel: Channel,
}

/// Connects to a machine API: at the cluster's endpoint, whichever control plane
/// machine that leads to holds the authority's key.
pub async fn connect(
    (host, port): (&str, u16),
    secrets: &ClusterSecrets,
    own: &MachineIdentity,
) -> anyhow::Result<Link> {
    let at = format!("{host}:{port}");
    let tls = client(secrets, own)?;
    let stream = async {
        let tcp = TcpStream::connect((host, port)).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        TlsConnector::from(tls).connect(name, tcp).await
    };
    let stream = tokio::time::timeout(PATIENCE, stream)
        .await
        .with_context(|| format!("connect to {at}: no answer within {} s", PATIENCE.as_secs()))?
        .with_context(|| format!("connect to {at}"))?;
    let once = Mutex::new(Some(TokioIo::new(stream)));
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = once.lock().ok().and_then(|mut once| once.take());
        async move { stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
    });
    let channel = Endpoint::from_static("http://machine")
        .timeout(PATIENCE)
        .connect_with_connector(connector)
        .await
        .with_context(|| format!("speak HTTP/2 with {at}"))?;
    Ok(Link { at, channel })
}

/// Whether an answer was that it is too early.
pub fn too_early(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<tonic::Status>();
    status.is_some_and(|status| status.code() == tonic::Code::Unavailable)
}

/// Makes a key and has it signed.
pub async fn sign(
    link: &Link,
    name: &str,
    purpose: v1::CertificatePurpose,
) -> anyhow::Result<MachineIdentity> {
    let asked = SigningRequest::generate(name)?;
    let request = v1::SignCertificateRequest {
        csr_pem: asked.csr_pem,
        purpose: purpose.into(),
    };
    let answer = MachineServiceClient::new(link.channel.clone())
        .sign_certificate(request)
        .await
        .map_err(|status| {
            let why = format!("{}: {}", link.at, status.message());
            anyhow::Error::new(status).context(why)
        })?;
    Ok(MachineIdentity {
        certificate: answer.into_inner().certificate_pem,
        key: asked.key,
    })
}

fn client(secrets: &ClusterSecrets, own: &MachineIdentity) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(secrets.machine_ca.certificate.as_bytes()) {
        roots.add(root?)?;
    }
    let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(own.key.expose().as_bytes())?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.collect::<Result<_, _>>()?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
