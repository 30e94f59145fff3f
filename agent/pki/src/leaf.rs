//! What a leaf certificate should say. Which leaves a node holds is decided by whoever asks.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Secret;

const DAY: u64 = 24 * 60 * 60;

/// How long certificates live. A year is 365 days, as it is for kubeadm.
#[derive(Debug, Clone, Copy)]
pub struct Lifetime;

impl Lifetime {
    /// Every authority: 10 years.
    pub const AUTHORITY: Duration = Duration::from_secs(10 * 365 * DAY);
    /// Leaves that Kubernetes and etcd use: 1 year.
    pub const LEAF: Duration = Duration::from_secs(365 * DAY);
    /// The machine API's own leaf: 24 hours, so that a stolen one is soon worthless.
    pub const MACHINE_API: Duration = Duration::from_secs(DAY);
    /// How far back every certificate begins, for peers whose clock is a little behind.
    pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
}

/// What a certificate may be used for in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// serverAuth
    Server,
    /// clientAuth
    Client,
    /// serverAuth and clientAuth
    Both,
}

impl Usage {
    /// True if a certificate with this usage can do all that `wanted` needs.
    #[must_use]
    pub fn covers(self, wanted: Self) -> bool {
        self == wanted || self == Self::Both
    }
}

/// Everything a leaf says about itself, apart from its key and its issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafRequest {
    /// The subject's CN.
    pub common_name: String,
    /// The subject's O: none or one.
    ///
    /// Kubernetes reads these as groups. No leaf needs two, and a second one is refused rather
    /// than lost.
    pub organizations: Vec<String>,
    /// What it is for.
    pub usage: Usage,
    /// DNS names it answers to.
    pub dns: BTreeSet<String>,
    /// Addresses it answers to.
    pub ips: BTreeSet<IpAddr>,
    /// How long it lives from now; the issuer's end may cut it shorter.
    pub lifetime: Duration,
}

/// A new leaf and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The private key, PKCS#8 PEM.
    pub key: Secret,
}
