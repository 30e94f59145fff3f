//! The cluster's endpoint, asked as a stranger: whether a cluster of ours is there.

use std::time::Duration;

use kube::{Client, Config};
use machine_config::{ClusterSecrets, MachineConfig};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The longest the question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether an API server answers there that this cluster's authority vouches for.
/// Whatever it answers, a refusal too, it has a cluster behind it. Nobody there, or
/// somebody of another cluster, is no.
pub async fn answers(config: &MachineConfig, secrets: &ClusterSecrets) -> bool {
    let Some(client) = client(config, secrets) else {
        return false;
    };
    let asked = tokio::time::timeout(PATIENCE, client.apiserver_version()).await;
    matches!(asked, Ok(Ok(_) | Err(kube::Error::Api(_))))
}

fn client(config: &MachineConfig, secrets: &ClusterSecrets) -> Option<Client> {
    let url = config.control_plane_endpoint().url().parse().ok()?;
    let authority = secrets.kubernetes_ca.certificate.as_bytes();
    let authority = CertificateDer::from_pem_slice(authority).ok()?;
    let mut asking = Config::new(url);
    asking.root_cert = Some(vec![authority.to_vec()]);
    asking.connect_timeout = Some(PATIENCE);
    asking.proxy_url = None;
    Client::try_from(asking).ok()
}
