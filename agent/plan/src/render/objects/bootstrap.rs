//! What a joining node finds before it is anyone: where the cluster is, and its token.

use std::time::SystemTime;

use data_encoding::BASE64;
use machine_config::{ClusterSecrets, MachineConfig};
use serde_json::{Map, Value, json};

use super::time::rfc3339;
use super::{JOINING_NODES, PUBLIC, SYSTEM, config_map};
use crate::render::to_yaml;

/// The ConfigMap that anyone may read and the controller manager signs with each token.
pub(super) fn cluster_info(config: &MachineConfig, secrets: &ClusterSecrets) -> Value {
    let authority = BASE64.encode(secrets.kubernetes_ca.certificate.as_bytes());
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

/// The bootstrap token's Secret.
pub(super) fn token(secrets: &ClusterSecrets, expires: Option<SystemTime>) -> Option<Value> {
    let (id, secret) = secrets.bootstrap_token.as_ref()?.expose().split_once('.')?;
    let fields = [
        ("token-id", id),
        ("token-secret", secret),
        ("expiration", &rfc3339(expires?)),
        ("usage-bootstrap-authentication", "true"),
        ("usage-bootstrap-signing", "true"),
        ("auth-extra-groups", JOINING_NODES),
    ];
    let data: Map<String, Value> = fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), BASE64.encode(value.as_bytes()).into()))
        .collect();
    Some(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": format!("bootstrap-token-{id}"), "namespace": SYSTEM },
        "type": "bootstrap.kubernetes.io/token",
        "data": data,
    }))
}
