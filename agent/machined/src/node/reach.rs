//! Where this machine asks the cluster's API, and as whom.

use super::kube::{Access, Kube};
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

    /// Where this machine's node is asked about: a control plane whose member of etcd only joins has no
    /// API server of its own yet, and asks where the endpoint leads.
    pub(super) fn reach(&self, entry: &Entry) -> (&Kube, Access) {
        let config = &entry.bundle.config;
        let stacked = config.role().is_control_plane() && config.has_etcd_member();
        match stacked && self.joins() {
            true => (&self.endpoint, Access::elsewhere(config)),
            false => (&self.kube, self.access(entry)),
        }
    }
}
