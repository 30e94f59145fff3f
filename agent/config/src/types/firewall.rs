use std::fmt;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may reach what on the machine, beyond what its role needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// Whether the machine refuses what is not admitted.
    pub enabled: bool,
    /// What is admitted too.
    pub ingress: Vec<Ingress>,
}

impl Default for Firewall {
    fn default() -> Self {
        Self {
            enabled: true,
            ingress: Vec::new(),
        }
    }
}

/// Ports that are admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// What it is for: a label.
    pub name: String,
    /// Over which protocol.
    pub protocol: Transport,
    /// Which ports of the machine; never empty, and apart from each other.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Where from; none means from everywhere.
    pub subnets: Vec<IpNet>,
}

/// A protocol that has ports.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
