use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the control plane beside the kubelet, and etcd unless that is elsewhere; holds the CA keys.
    ControlPlane,
    /// Runs workloads only, and holds no CA key.
    Worker,
    /// Runs a member of etcd and nothing of Kubernetes; holds the CA keys of etcd and of the machine API.
    Etcd,
}

impl Role {
    /// The word a document uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "controlplane",
            Self::Worker => "worker",
            Self::Etcd => "etcd",
        }
    }

    /// Whether this is a control plane machine.
    #[must_use]
    pub fn is_control_plane(self) -> bool {
        self == Self::ControlPlane
    }

    /// Whether it is a node of Kubernetes.
    #[must_use]
    pub fn has_node(self) -> bool {
        self != Self::Etcd
    }

    /// Whether it holds authorities' keys, and signs its own certificates.
    #[must_use]
    pub fn holds_keys(self) -> bool {
        self != Self::Worker
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
