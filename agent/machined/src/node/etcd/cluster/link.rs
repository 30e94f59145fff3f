//! The way to one member of etcd: mutual TLS, and a deadline on everything.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::Client;
use hyper_util::rt::TokioIo;
use machine_pki::Secret;
use machine_plan::render::ETCD_CLIENT_PORT;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;

use super::Cluster;
use crate::node::kube::{Identity, tls};

/// The longest that one member may take to be reached, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What went wrong on the way to a member, or there.
pub(super) type Failed = String;

impl Cluster {
    /// A connection of its own to the member at an address, which errors name.
    pub(super) async fn connect(&self, ip: IpAddr) -> Result<Client, Failed> {
        let connected = async {
            let tls = self.tls()?;
            let stream = async {
                let tcp = TcpStream::connect(SocketAddr::new(ip, ETCD_CLIENT_PORT)).await?;
                tcp.set_nodelay(true)?;
                TlsConnector::from(tls)
                    .connect(ServerName::from(ip), tcp)
                    .await
            };
            let stream = stream.await.map_err(|e| e.to_string())?;
            let once = Mutex::new(Some(TokioIo::new(stream)));
            let connector = tower::service_fn(move |_: http::Uri| {
                let stream = once.lock().ok().and_then(|mut once| once.take());
                async move { stream.ok_or_else(|| std::io::Error::other("closed")) }
            });
            let channel = Endpoint::from_static("http://etcd")
                .connect_with_connector(connector)
                .await
                .map_err(|e| crate::api::chain(&e))?;
            let channel = etcd_client::Channel::Tonic(channel);
            Client::from_channel(channel, None).await.map_err(said)
        };
        let within = tokio::time::timeout(PATIENCE, connected).await;
        let within =
            within.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
        within.map_err(|why| format!("{ip}: {why}"))
    }

    /// Whether a member with a vote answers at one of these addresses, by a quorum's word.
    pub async fn answers(&self, at: &BTreeSet<IpAddr>) -> bool {
        !at.is_empty() && self.voter(at).await.is_ok()
    }

    /// Whether this machine has what members want to see.
    pub fn may_ask(&self) -> bool {
        let there = |name| self.pki.join(name).exists();
        ["ca.crt", "healthcheck-client.crt", "healthcheck-client.key"]
            .into_iter()
            .all(there)
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, Failed> {
        let read = |name: &str| {
            let path = self.pki.join(name);
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
        };
        let identity = Identity {
            certificate: read("healthcheck-client.crt")?,
            key: Secret::new(read("healthcheck-client.key")?),
        };
        let mut config = tls(&read("ca.crt")?, Some(&identity))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

/// A call, and how long it may take.
pub(super) async fn limited<T>(
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, etcd_client::Error> {
    let within = tokio::time::timeout(PATIENCE, call).await;
    within.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", PATIENCE.as_secs());
        Err(etcd_client::Error::Internal(why))
    })
}

/// What a member answered.
pub(super) fn said(error: etcd_client::Error) -> Failed {
    match error {
        etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
        etcd_client::Error::Internal(why) => why,
        other => other.to_string(),
    }
}

/// The same, with where it was asked.
pub(super) fn at_member(ip: IpAddr, error: etcd_client::Error) -> Failed {
    format!("{ip}: {}", said(error))
}
