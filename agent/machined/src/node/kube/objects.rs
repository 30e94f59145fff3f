//! Objects of the cluster: of each only the fields that matter here. Everything else that the API
//! server sends is read over.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use machine_plan::observed::{KnownBy, NodeSeen, PeerSeen};
use serde::{Deserialize, Serialize};

/// Several objects.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    #[serde(default)]
    metadata: Metadata,
    items: Option<Vec<T>>,
}

impl<T> List<T> {
    /// From where a watch goes on.
    pub fn version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or("0")
    }

    /// They alone. None may be written as nothing at all.
    pub fn items(self) -> Vec<T> {
        self.items.unwrap_or_default()
    }
}

/// What every object has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub creation_timestamp: Option<String>,
    pub resource_version: Option<String>,
    /// Set once it is being deleted.
    pub deletion_timestamp: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub owner_references: Vec<Owner>,
}

impl Metadata {
    /// In Unix seconds; 0 where nobody can tell.
    fn created(&self) -> i64 {
        let at = self.creation_timestamp.as_deref().unwrap_or_default();
        at.parse::<jiff::Timestamp>()
            .map_or(0, jiff::Timestamp::as_second)
    }
}

/// What an object belongs to.
#[derive(Debug, Clone, Deserialize)]
pub struct Owner {
    pub kind: String,
}

/// A machine of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    pub metadata: Metadata,
    pub spec: NodeSpec,
    pub status: NodeStatus,
}

/// What is wanted of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
}

/// All of a taint: a patch writes the others back as they were.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    pub effect: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

/// How it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    pub conditions: Vec<Condition>,
    addresses: Vec<Address>,
}

/// Something that is so, or not.
#[derive(Debug, Clone, Deserialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub message: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: Metadata,
    pub status: PodStatus,
}

/// How it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    pub phase: String,
}

/// Labels that no kubelet may set; the second is all that kubeadm sets before 1.20.
const CONTROL_PLANE: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];

impl Node {
    /// Its condition of readiness, once it has one.
    pub fn ready(&self) -> Option<&Condition> {
        self.status.conditions.iter().find(|c| c.kind == "Ready")
    }

    fn known_by(&self) -> KnownBy {
        let mut known = KnownBy::default();
        for Address { kind, address } in &self.status.addresses {
            let ip = address.parse::<IpAddr>().map(|ip| ip.to_canonical());
            match (kind.as_str(), ip) {
                ("InternalIP" | "ExternalIP" | "Hostname", Ok(ip)) => {
                    known.addresses.insert(ip);
                }
                ("Hostname" | "InternalDNS" | "ExternalDNS", Err(_)) => {
                    known.names.insert(address.to_ascii_lowercase());
                }
                _ => {}
            }
        }
        known
    }

    /// As others see it.
    pub fn peer(&self) -> PeerSeen {
        let addresses = self.status.addresses.iter();
        PeerSeen {
            name: self.metadata.name.clone(),
            control_plane: CONTROL_PLANE
                .iter()
                .any(|label| self.metadata.labels.contains_key(*label)),
            addresses: addresses
                .filter(|a| a.kind == "InternalIP")
                .filter_map(|a| a.address.parse().ok())
                .collect(),
            pod_cidrs: self.pod_cidrs(),
            known_by: self.known_by(),
        }
    }

    /// As its own machine sees it.
    pub fn seen(self) -> NodeSeen {
        let ready = self.ready();
        let message = ready.and_then(|c| c.message.clone());
        NodeSeen {
            ready: ready.is_some_and(|c| c.status == "True"),
            ready_message: message.unwrap_or_else(|| "no Ready condition yet".to_owned()),
            cordoned_before: crate::node::drain::cordoned_before(&self.metadata.annotations),
            pod_cidrs: self.pod_cidrs(),
            registered: self.metadata.created(),
            known_by: self.known_by(),
            labels: self.metadata.labels,
            taints: self
                .spec
                .taints
                .into_iter()
                .map(|t| (t.key, t.value.unwrap_or_default(), t.effect))
                .collect(),
        }
    }

    fn pod_cidrs(&self) -> Vec<IpNet> {
        let (all, one) = (&self.spec.pod_cidrs, &self.spec.pod_cidr);
        let all = match all.is_empty() {
            true => one.as_slice(),
            false => all,
        };
        all.iter().filter_map(|cidr| cidr.parse().ok()).collect()
    }
}
