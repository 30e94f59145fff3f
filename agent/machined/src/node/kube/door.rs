//! One API server and how to get in: where it listens, whom to believe, what to show.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use machine_pki::Secret;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::Error;

/// The longest that connecting may take, the handshake included.
const CONNECT: Duration = Duration::from_secs(5);

/// A peer that is gone is noticed after about a minute: first asked after this long,
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
/// then so often,
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// and given up after so many questions without an answer.
const KEEPALIVE_COUNT: u32 = 3;

/// Asks on one connection.
pub type Sender = SendRequest<Full<Bytes>>;

/// Where, and as whom.
pub struct Door {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
}

/// A client certificate and its key.
pub struct Identity {
    /// PEM, the chain.
    pub certificate: String,
    /// PEM.
    pub key: Secret,
}

impl Door {
    /// To a server that this authority vouches for, with nothing or a certificate to show.
    pub fn new(
        (host, port): (&str, u16),
        authority: &str,
        identity: Option<&Identity>,
    ) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host} is neither a name nor an address"))?;
        let config = tls(authority, identity)?;
        Ok(Self {
            host: host.to_owned(),
            port,
            name,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// What a request says of where it goes.
    pub fn authority(&self) -> String {
        match self.name {
            ServerName::IpAddress(rustls_pki_types::IpAddr::V6(_)) => {
                format!("[{}]:{}", self.host, self.port)
            }
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// A new connection. It ends when nobody can ask on it any more.
    pub async fn open(&self) -> Result<Sender, Error> {
        let stream = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
            tcp.set_nodelay(true)?;
            keep_alive(&tcp)?;
            self.tls.connect(self.name.clone(), tcp).await
        };
        let stream = match tokio::time::timeout(CONNECT, stream).await {
            Ok(stream) => stream.map_err(Error::Connect)?,
            Err(_) => {
                let why = format!("no connection within {} s", CONNECT.as_secs());
                return Err(Error::Connect(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whoever asks on it is told why it ended.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// TLS 1.3 to who has a certificate of this authority.
pub fn tls(authority: &str, identity: Option<&Identity>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let root = root.map_err(|e| format!("the authority's certificate: {e}"))?;
        let added = roots.add(root);
        added.map_err(|e| format!("the authority's certificate: {e}"))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    let Some(identity) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
    let chain: Vec<_> = chain
        .collect::<Result<_, _>>()
        .map_err(|e| format!("the client certificate: {e}"))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose().as_bytes())
        .map_err(|e| format!("the client's key: {e}"))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|e| format!("the client certificate and its key: {e}"))
}

// A machine that loses its power says nothing, and a watch waits for as long as
// nothing is said.
fn keep_alive(tcp: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(tcp, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(tcp, KEEPALIVE_COUNT)?;
    Ok(())
}

/// The host without brackets, and the port, of `https://host:port`.
pub fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url: http::Uri = url.parse().ok()?;
    if url.scheme_str() != Some("https") || !matches!(url.path(), "" | "/") {
        return None;
    }
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), url.port_u16().unwrap_or(443)))
}
