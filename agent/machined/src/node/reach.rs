//! Where this machine asks the cluster's API, and as whom.

use super::kube::Access;
use super::{Node, facts};
use crate::ledger::Entry;

/// As whom, and where, this machine asks the cluster's API.
pub fn access(entry: &Entry) -> Access {
    let config = &entry.bundle.config;
    Access::new(config, facts::look(config).node_ip)
}

impl Node {
    pub(super) fn access(&self, entry: &Entry) -> Access {
        access(entry)
    }
}
