//! Objects in the cluster, in the order in which to apply them.

mod bootstrap;
mod config_maps;
mod coredns;
mod proxy;
mod rbac;
mod time;
mod token;

use std::time::{Duration, SystemTime};

use machine_config::{ClusterSecrets, ComponentSource, MachineConfig, NetworkAddon};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::yaml;

pub(crate) use time::rfc3339;
pub use token::{
    BootstrapToken, TOKEN_TYPE, TOKEN_USAGES, TokenFault, is_token_id, join_command, token_object,
};

/// How long kubeadm lets a bootstrap token live, and what callers should add to now.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The group that bootstrap tokens put a joining node in.
const JOINING_NODES: &str = "system:bootstrappers:kubeadm:default-node-token";
/// The group of nodes that have joined.
const NODES: &str = "system:nodes";
const SYSTEM: &str = "kube-system";
const PUBLIC: &str = "kube-public";

/// Everything kubeadm makes in a cluster of this version: access first, so that nothing is ever
/// used before it is allowed, then configuration, then add-ons.
///
/// The bootstrap token's Secret is among them only if `token_expires` says until when: a token
/// that never expires is a standing invitation, and applying one with a new time at every look
/// would make it that. Decide the time once, for example [`TOKEN_LIFETIME`] after the order to
/// bootstrap.
#[must_use]
pub fn cluster_objects(
    config: &MachineConfig,
    secrets: &ClusterSecrets,
    token_expires: Option<SystemTime>,
) -> Vec<Value> {
    let mut objects = rbac::access(config);
    objects.push(bootstrap::cluster_info(config, secrets));
    objects.extend(bootstrap::token(secrets, token_expires));
    objects.extend(config_maps::kubeadm(config));
    objects.extend(config_maps::kubelet(config));
    objects.extend(proxy::proxy(config));
    if let ComponentSource::Registry(prefix) = config.component_source() {
        objects.extend(coredns::coredns(config, prefix));
    }
    objects
}

/// A manifest of the user's that is no Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// Which list it stands in, and its place there from 0.
    pub place: String,
    /// What is wrong with it.
    pub cause: String,
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.place, self.cause)
    }
}

impl std::error::Error for ManifestError {}

/// The network add-on's manifests and the user's extra ones, in the order written.
///
/// # Errors
///
/// When a manifest is not YAML, or not an object with `apiVersion`, `kind` and a name.
pub fn user_objects(config: &MachineConfig) -> Result<Vec<Value>, ManifestError> {
    let mut objects = Vec::new();
    if let NetworkAddon::Manifests(manifests) = config.network_addon() {
        read_all("cluster.networkAddon.manifests", manifests, &mut objects)?;
    }
    read_all(
        "cluster.extraManifests",
        config.extra_manifests(),
        &mut objects,
    )?;
    Ok(objects)
}

fn read_all(
    list: &str,
    manifests: &[String],
    objects: &mut Vec<Value>,
) -> Result<(), ManifestError> {
    for (number, text) in manifests.iter().enumerate() {
        let fault = |cause: &str| ManifestError {
            place: format!("{list}[{number}]"),
            cause: cause.to_owned(),
        };
        let documents = yaml::read(text).map_err(|_| fault("is not valid YAML"))?;
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            if Identity::deserialize(&document).is_err() {
                return Err(fault(
                    "is no object with apiVersion, kind and metadata.name",
                ));
            }
            objects.push(document);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only their presence matters")]
struct Identity {
    api_version: String,
    kind: String,
    metadata: Name,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its presence matters")]
struct Name {
    name: String,
}

fn config_map(namespace: &str, name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": namespace },
        "data": data,
    })
}

fn service_account(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": SYSTEM },
    })
}
