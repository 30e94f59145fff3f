//! All that one look can see.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use machine_pki::CertificateFacts;
use serde::Serialize;

use crate::membership::{Member, Membership};
use crate::order::EtcdOrder;
use crate::serving::ServingRequest;
use crate::turn::TurnSeen;

/// The result of one probe. An unreachable peer is a value, not an error.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(tag = "probe", content = "value", rename_all = "kebab-case")]
pub enum Probe<T> {
    /// It is there, and this is it.
    Seen(T),
    /// It is certainly not there.
    #[default]
    Absent,
    /// Nothing is known, for this reason.
    Unreadable(String),
}

impl<T> Probe<T> {
    /// The value, if seen.
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(value) => Some(value),
            _ => None,
        }
    }
}

/// A file as seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSeen {
    /// Hex SHA-256 of its content.
    pub digest: String,
    /// Permission bits.
    pub mode: u32,
}

/// A unit as systemd sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UnitSeen {
    /// "active", "activating", "failed", …
    pub active_state: String,
    /// "running", "auto-restart", …
    pub sub_state: String,
    /// "success", "exit-code", …
    pub result: String,
    /// What its main process last ended with: an exit status or a signal.
    pub exit_status: i32,
    /// Automatic restarts since it was started.
    pub restarts: u32,
    /// Digest of its inputs when this boot's agent last (re)started it.
    pub inputs: Option<String>,
}

/// A leaf certificate as seen, with its key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeafSeen {
    /// What the certificate says.
    pub facts: CertificateFacts,
    /// Whether the key beside it is its key.
    pub key_matches: bool,
    /// Whether the desired authority signed it.
    pub authority_matches: bool,
    /// For a kubeconfig: the server it points at.
    pub server: Option<String>,
}

/// What a node says of itself that it is reached by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KnownBy {
    /// Names, in small letters.
    pub names: BTreeSet<String>,
    /// Addresses; one of IPv4 is never written as one of IPv6.
    pub addresses: BTreeSet<IpAddr>,
}

/// This machine's node object.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NodeSeen {
    /// Its Ready condition.
    pub ready: bool,
    /// That condition's message.
    pub ready_message: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Key, value, effect.
    pub taints: Vec<(String, String, String)>,
    /// Whether this machine took it out of scheduling in an earlier run of the agent, to go down.
    pub cordoned_before: bool,
    /// When it was registered, in Unix seconds; 0 where that is not said.
    pub registered: i64,
    /// Given by the controller manager.
    pub pod_cidrs: Vec<IpNet>,
    /// All its names and addresses.
    pub known_by: KnownBy,
}

/// Another machine's node object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PeerSeen {
    /// Its name.
    pub name: String,
    /// Whether it has a control plane's label, which no kubelet may set.
    pub control_plane: bool,
    /// Its internal addresses.
    pub addresses: Vec<IpAddr>,
    /// Given by the controller manager.
    pub pod_cidrs: Vec<IpNet>,
    /// All its names and addresses.
    pub known_by: KnownBy,
}

/// A way to another node's pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Route {
    /// Which pods.
    pub to: IpNet,
    /// Through which machine.
    pub via: IpAddr,
}

/// A file system's room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes left.
    pub free_bytes: u64,
    /// Files that can still be made; `None` where there is no bound.
    pub free_files: Option<u64>,
}

/// How far a recovery's new data is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restored {
    /// Not there as a whole.
    #[default]
    Nothing,
    /// Made, beside the old.
    Whole,
    /// etcd's data from now on.
    InPlace,
}

/// Which static pods end before a machine goes down, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retire {
    /// None.
    #[default]
    Nothing,
    /// Controller manager and scheduler.
    Controllers,
    /// The API server too.
    ApiServer,
}

/// One look at the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Observed {
    /// The kernel's hostname.
    pub hostname: String,
    /// The kernel's id of this boot.
    pub boot: String,
    /// The address that the document's choice falls on.
    pub node_ip: Probe<IpAddr>,
    /// All addresses of the machine.
    pub addresses: Vec<IpAddr>,
    /// By path.
    pub files: BTreeMap<String, Probe<FileSeen>>,
    /// By leaf name.
    pub leaves: BTreeMap<String, Probe<LeafSeen>>,
    /// By full unit name.
    pub units: BTreeMap<String, Probe<UnitSeen>>,
    /// Whether etcd's data directory holds a member.
    pub etcd_data: Probe<()>,
    /// What this machine remembers of having joined etcd's cluster: `Absent` also on its first member.
    pub membership: Probe<Membership>,
    /// etcd's members, as one with a vote lists them: `Absent` is that none is known.
    pub members: Probe<Vec<Member>>,
    /// Whether this machine's member answers on loopback, and not at the machine's address.
    pub etcd_astray: bool,
    /// Whose turn it is to be away, by the word of that member: `Absent` is nobody's.
    pub turn: Probe<TurnSeen>,
    /// Whether this run of the agent carries out an order to go down.
    pub going_down: bool,
    /// What of the control plane here is to end for it: pods have left, and nothing else of the machine
    /// stops before.
    pub retire: Retire,
    /// The last order about etcd, carried out or not.
    pub etcd_order: Probe<EtcdOrder>,
    /// How far that order's new data is.
    pub restored: Restored,
    /// While such an order is open: whether an etcd has this machine's data open.
    pub etcd_runs: Probe<()>,
    /// Whether a bootstrap order is in the ledger and not finished.
    pub bootstrap_ordered: bool,
    /// When it was, in Unix seconds; 0 where it never was.
    pub bootstrap_since: i64,
    /// Whether a bootstrap order was carried out once.
    pub bootstrap_done: bool,
    /// The local API server's `/readyz`: `Absent` is nobody listens.
    pub api_server: Probe<()>,
    /// Whether the cluster's endpoint answers: on a worker that has not joined, and on a control plane
    /// with an external etcd that has no API server yet.
    pub endpoint: Probe<()>,
    /// On a worker: its kubelet's certificate. `Unreadable` is that no control
    /// plane machine signs one.
    pub kubelet_certificate: Probe<()>,
    /// This machine's node.
    pub node: Probe<NodeSeen>,
    /// All nodes of the cluster but this one.
    pub peers: Probe<Vec<PeerSeen>>,
    /// On a control plane: requests of kubelets for serving certificates that nobody has decided on.
    pub serving: Probe<Vec<ServingRequest>>,
    /// What was said in this run of the agent of such requests that are left alone, by who made them.
    pub serving_told: BTreeMap<String, BTreeSet<String>>,
    /// The kernel's routes that this agent has made.
    pub routes: Probe<Vec<Route>>,
    /// Digest of the objects that were last applied in this boot.
    pub applied: Option<String>,
    /// By mount point.
    pub file_systems: BTreeMap<String, Probe<Room>>,
    /// This machine's etcd: `Absent` is nobody listens.
    pub etcd_health: Probe<()>,
    /// On a control plane that has not begun and whose etcd is on the cluster's machines of role `etcd`:
    /// whether one of them listens.
    pub etcd_listens: Probe<()>,
    /// Restarts of the static pods' containers, by name.
    pub static_pods: BTreeMap<String, u32>,
}

impl Observed {
    /// Whether a file has this content and mode.
    pub fn has_file(&self, path: &str, digest: &str, mode: u32) -> bool {
        let seen = self.files.get(path).and_then(Probe::seen);
        seen.is_some_and(|f| f.digest == digest && f.mode == mode)
    }
}
