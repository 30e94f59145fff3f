//! Where this machine asks the cluster's API, and as whom.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use machine_config::MachineConfig;
use machine_plan::observed::{NodeSeen, PeerSeen, Probe};

use super::kube::{Access, Kube};
use super::probe::{Standing, limited};
use super::{Node, facts};
use crate::ledger::Entry;

/// As whom, and where, this machine asks the cluster's API.
pub fn access(entry: &Entry) -> Access {
    let config = &entry.bundle.config;
    Access::new(config, facts::look(config).node_ip)
}

/// What is asked of API servers that may be only starting, or not there yet.
#[derive(Default)]
pub struct Elsewhere {
    served: AtomicBool,
    ready: Standing<()>,
    node: Standing<NodeSeen>,
    peers: Standing<Vec<PeerSeen>>,
    control_planes: Standing<Vec<IpAddr>>,
}

impl Node {
    pub(super) fn access(&self, entry: &Entry) -> Access {
        access(entry)
    }

    /// Where this machine's node is asked about.
    pub(super) fn reach(&self, entry: &Entry) -> (&Kube, Access) {
        match self.asks_elsewhere(entry) {
            true => (&self.endpoint, Access::elsewhere(&entry.bundle.config)),
            false => (&self.kube, self.access(entry)),
        }
    }

    /// Whether this machine's API server is ready.
    pub(super) async fn own_api(&self, entry: &Entry) -> Probe<()> {
        let at = self.access(entry);
        if self.elsewhere.served.load(Ordering::Relaxed) {
            return limited(self.kube.ready(&at)).await;
        }
        let kube = Arc::clone(&self.kube);
        let asked = async move { kube.ready(&at).await };
        // What had stopped may have begun since: that it has stopped is only believed at once.
        let stands = |last: &Probe<()>| *last != Probe::Absent;
        let ready = self.elsewhere.ready.ask(asked, stands).await;
        let ready = ready.unwrap_or_else(unanswered);
        let served = ready.seen().is_some();
        self.elsewhere.served.store(served, Ordering::Relaxed);
        ready
    }

    /// This machine's node.
    pub(super) async fn own_node(&self, entry: &Entry, name: &str) -> Probe<NodeSeen> {
        if !self.asks_elsewhere(entry) {
            return limited(self.kube.node(&self.access(entry), name)).await;
        }
        let at = Access::elsewhere(&entry.bundle.config);
        let (kube, name) = (Arc::clone(&self.endpoint), name.to_owned());
        let asked = async move { kube.node(&at, &name).await };
        let seen = self.elsewhere.node.ask(asked, |_| true).await;
        seen.unwrap_or_else(unanswered)
    }

    /// All nodes but this machine's.
    pub(super) async fn other_nodes(&self, entry: &Entry, name: &str) -> Probe<Vec<PeerSeen>> {
        if !self.asks_elsewhere(entry) {
            return limited(self.kube.peers(&self.access(entry), name)).await;
        }
        let at = Access::elsewhere(&entry.bundle.config);
        let (kube, name) = (Arc::clone(&self.endpoint), name.to_owned());
        let asked = async move { kube.peers(&at, &name).await };
        let seen = self.elsewhere.peers.ask(asked, |_| true).await;
        seen.unwrap_or_else(unanswered)
    }

    /// Addresses of the other control planes, by the API where the endpoint leads; none where it has not said
    /// yet. A virtual IP that nobody holds is silent for seconds.
    pub(super) async fn control_planes_known(&self, config: &MachineConfig) -> Option<Vec<IpAddr>> {
        let at = Access::elsewhere(config);
        let (kube, name) = (Arc::clone(&self.endpoint), config.hostname().to_string());
        let asked = async move { kube.control_planes(&at, &name).await };
        let known = self.elsewhere.control_planes.ask(asked, |_| true).await?;
        Some(known.seen().cloned().unwrap_or_default())
    }

    /// A control plane whose member of etcd only joins has no API server of its own yet. And one that has
    /// joined others asks them until its own was ready once: it takes connections seconds before it answers.
    fn asks_elsewhere(&self, entry: &Entry) -> bool {
        let config = &entry.bundle.config;
        let stacked = config.role().is_control_plane() && config.has_etcd_member();
        let joins = stacked && self.joins();
        if joins {
            // It has left: what was ready is not its API server any more.
            self.elsewhere.served.store(false, Ordering::Relaxed);
        }
        joins || stacked && self.starts_beside(facts::look(config).node_ip)
    }

    fn starts_beside(&self, own: IpAddr) -> bool {
        let others = self.ledger.control_planes().iter().any(|ip| *ip != own);
        others && !self.elsewhere.served.load(Ordering::Relaxed) && !self.ledger.founding()
    }
}

fn unanswered<T>() -> Probe<T> {
    Probe::Unreadable("no answer yet".to_owned())
}
