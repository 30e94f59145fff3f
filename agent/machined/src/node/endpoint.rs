//! The cluster's endpoint, asked as a stranger: whether a cluster of ours is there.

#[cfg(test)]
mod virtual_ip;

use std::time::Duration;

use machine_config::{ClusterSecrets, MachineConfig};

use super::kube::{Client, Door, Error};

/// The longest the question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether an API server answers there that this cluster's authority vouches for.
/// Whatever it answers, a refusal too, it has a cluster behind it. Nobody there, or
/// somebody of another cluster, is no.
pub async fn answers(config: &MachineConfig, secrets: &ClusterSecrets) -> bool {
    let Some(client) = client(config, secrets) else {
        return false;
    };
    let asked = tokio::time::timeout(PATIENCE, client.check("/version")).await;
    matches!(asked, Ok(Ok(()) | Err(Error::Refused { .. })))
}

fn client(config: &MachineConfig, secrets: &ClusterSecrets) -> Option<Client> {
    let at = config.control_plane_endpoint();
    let authority = &secrets.kubernetes_ca.as_ref()?.certificate;
    let door = Door::new((at.host(), at.port()), authority, None);
    door.ok().map(Client::new)
}
