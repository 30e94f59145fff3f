//! Every file and object that a config calls for, as text. Pure: the same inputs give the same
//! bytes, on the node and in `machinectl render` alike.
//!
//! What kubeadm does is followed, by version; what differs on purpose is listed with its reason in
//! `tests/conformance/differences.rs`.

mod args;
mod authorities;
mod cni;
mod containerd;
mod encryption;
mod etcd;
mod firewall;
pub mod gates;
mod haproxy;
mod host;
mod images;
mod keepalived;
mod kubeconfig;
mod kubelet;
mod leaf_fitness;
mod leaves;
mod marks;
mod network;
mod objects;
mod organizations;
mod pod;
mod pod_cidrs;
mod static_pods;
mod yaml;

use std::fmt::Display;

pub use authorities::{BOOTSTRAP_KUBECONFIG, authorities};
pub use cni::cni;
pub use containerd::containerd;
pub use encryption::encryption;
pub use etcd::{
    CLIENT_PORT as ETCD_CLIENT_PORT, ETCD_ARGUMENTS, ETCD_DATA, EtcdWish, etcd_endpoints,
    etcd_file, etcd_peer_url,
};
pub use firewall::{LEAVING_SET, MACHINE_API_PORT, firewall};
pub use haproxy::{LOAD_BALANCER_PORT, api_url, haproxy};
pub use host::host;
pub use images::EMBEDDED_BINARIES;
pub use keepalived::{UNREADY_FILE, keepalived};
pub use kubeconfig::{bootstrap_kubeconfig, kubeconfig};
pub use kubelet::kubelet;
pub use leaf_fitness::Why;
pub use leaves::{
    API_SERVER, Leaf, Place, cluster_admin_kubeconfig, kubelet_keeps_to_its_own, kubelet_leaf,
    leaves, machine_api_leaf,
};
pub use marks::{NodeMarks, node_marks};
pub(crate) use objects::rfc3339;
pub use objects::{
    BootstrapToken, ManifestError, TOKEN_LIFETIME, TOKEN_TYPE, TOKEN_USAGES, TokenFault,
    cluster_objects, is_token_id, join_command, token_object, user_objects,
};
pub use pod::MANIFESTS;
pub use pod_cidrs::{leads_by_lease, next_pod_cidrs};
pub use static_pods::{CONTROLLERS, ENCRYPTION_CONFIG, static_pods};
pub use yaml::to_yaml;

/// Kubernetes' directory.
pub const KUBERNETES: &str = "/etc/kubernetes";
/// Its keys and certificates.
pub const PKI: &str = "/etc/kubernetes/pki";
/// The port every API server of ours listens on; a load balancer before it may have another.
pub const API_PORT: u16 = 6443;

/// Values in one argument, separated by commas.
fn join(values: impl IntoIterator<Item = impl Display>) -> String {
    let words: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    words.join(",")
}
