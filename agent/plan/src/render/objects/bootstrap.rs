//! What a joining node finds before it is anyone: where the cluster is, and its token.

use std::time::SystemTime;

use data_encoding::BASE64;
use machine_config::{ClusterSecrets, MachineConfig};
use serde_json::{Value, json};

use super::token::BootstrapToken;
use super::{PUBLIC, config_map};
use crate::render::to_yaml;

/// The ConfigMap that anyone may read and the controller manager signs with each token.
pub(super) fn cluster_info(config: &MachineConfig, secrets: &ClusterSecrets) -> Value {
    let authority = secrets.kubernetes_ca.as_ref();
    let authority = authority.map_or("", |ca| ca.certificate.as_str());
    let authority = BASE64.encode(authority.as_bytes());
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "",
            "cluster": {
                "certificate-authority-data": authority,
                "server": config.control_plane_endpoint().url(),
            },
        }],
        "contexts": [],
        "current-context": "",
        "preferences": {},
        "users": [],
    });
    config_map(
        PUBLIC,
        "cluster-info",
        json!({ "kubeconfig": to_yaml(&kubeconfig) }),
    )
}

/// The Secret of the token that the cluster's documents hold.
pub(super) fn token(secrets: &ClusterSecrets, expires: Option<SystemTime>) -> Option<Value> {
    let token = secrets.bootstrap_token.clone()?;
    let token = BootstrapToken::new(token, Some(expires?), String::new(), &[], Vec::new());
    token.ok().map(|token| token.object())
}
