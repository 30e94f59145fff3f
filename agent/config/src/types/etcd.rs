use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// As what a control plane's member of etcd runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EtcdRunAs {
    /// A static pod, which kubelet starts.
    #[default]
    Pod,
    /// A unit of systemd, `etcd.service`, with the image's own etcd.
    Unit,
}

impl EtcdRunAs {
    /// The word a document uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Unit => "unit",
        }
    }
}

impl fmt::Display for EtcdRunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
