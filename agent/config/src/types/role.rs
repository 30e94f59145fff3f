use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs etcd and the control plane beside the kubelet, and holds the CA keys.
    ControlPlane,
    /// Runs workloads only, and holds no CA key.
    Worker,
}

impl Role {
    /// The word a document uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "controlplane",
            Self::Worker => "worker",
        }
    }

    /// Whether this is a control plane machine.
    #[must_use]
    pub fn is_control_plane(self) -> bool {
        self == Self::ControlPlane
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
