//! Orders about this machine's member of etcd: one-shot, from a person, in the ledger before anything
//! is done about them.

use serde::{Deserialize, Serialize};

/// Where the data comes from that a cluster is made of again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A snapshot that was sent, with its digest at its end.
    Snapshot {
        /// Hex SHA-256 of the whole file.
        sha256: String,
    },
    /// What this machine's own member has.
    Data,
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EtcdVerb {
    /// Make a new cluster of old data, with this machine as its only member.
    Recover(Source),
    /// Take this machine's member out of its cluster, and stay out.
    Leave,
    /// Set this machine's data aside, and join anew.
    Discard,
}

/// One order. The last one stays on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdOrder {
    /// Format of this record: 1.
    pub version: u32,
    /// Identifies it in events, in the audit log and in the names of what it sets aside.
    pub id: String,
    /// Who gave it.
    pub by: String,
    /// Wall clock, milliseconds since the epoch.
    pub ordered_ms: i64,
    /// What.
    pub verb: EtcdVerb,
    /// Whether it was carried out: never acted on again, whatever is lost.
    pub done: bool,
}

impl EtcdOrder {
    /// The format's version.
    pub const VERSION: u32 = 1;
}

impl EtcdVerb {
    /// The word used in ids.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Recover(_) => "recover",
            Self::Leave => "leave",
            Self::Discard => "discard",
        }
    }
}
