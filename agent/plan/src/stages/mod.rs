//! The stages, their order and what each needs: the one place that says so.

mod certs;
mod cluster;
mod endpoint;
mod etcd;
mod etcd_address;
mod etcd_apart;
mod etcd_order;
mod etcd_start;
mod firewall;
mod founding;
mod host;
mod node;
mod pods;
#[cfg(test)]
mod role_tests;
mod routes;
mod serving;
#[cfg(test)]
mod tests;
mod turn;
mod units;

use serde::Serialize;

use crate::action::Action;
use crate::desired::Desired;
use crate::files::RenderedFile;
use crate::observed::Observed;
use crate::verdict::{Plan, Verdict};

/// A stage's name, in the order of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Hostname, sysctls, modules, links, time.
    Host,
    /// Whom the machine lets in.
    Firewall,
    /// Authorities and leaves.
    Certs,
    /// containerd.
    Runtime,
    /// This node's load balancer, and the virtual IP.
    Endpoint,
    /// This machine's member of etcd.
    Etcd,
    /// The API server's.
    ControlPlane,
    /// kubelet.
    Kubelet,
    /// The local API server answers.
    Api,
    /// The controller manager's and the scheduler's.
    Controllers,
    /// This machine's node: labels and taints.
    Node,
    /// The built-in network.
    Network,
    /// Objects that every cluster has.
    Cluster,
    /// The node is Ready.
    Ready,
    /// Ways to other nodes' pods.
    Routes,
    /// Other machines' members of etcd.
    Members,
    /// Certificates that kubelets serve with.
    Serving,
    /// The end of this machine's turn to be away.
    Turn,
}

impl Stage {
    /// The word used in status and events.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Firewall => "firewall",
            Self::Certs => "certs",
            Self::Runtime => "runtime",
            Self::Endpoint => "endpoint",
            Self::Etcd => "etcd",
            Self::ControlPlane => "control-plane",
            Self::Kubelet => "kubelet",
            Self::Api => "api",
            Self::Controllers => "controllers",
            Self::Node => "node",
            Self::Network => "network",
            Self::Cluster => "cluster",
            Self::Ready => "ready",
            Self::Routes => "routes",
            Self::Members => "members",
            Self::Serving => "serving",
            Self::Turn => "turn",
        }
    }
}

/// What every stage is given.
pub(crate) struct Look<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    /// Unix seconds.
    pub now: i64,
}

type Rule = fn(&Look<'_>) -> Verdict;

// Manifests are written before kubelet starts, so that its first look finds
// them; whether the pods then run is the `api` stage's business. A stage is held
// only where acting without its need would be wrong or useless.
const TABLE: [(Stage, &[Stage], Rule); 18] = [
    (Stage::Host, &[], host::plan),
    // After the host: its rules name the subnets of the node's address.
    (Stage::Firewall, &[Stage::Host], firewall::plan),
    (Stage::Certs, &[Stage::Host], certs::plan),
    (Stage::Runtime, &[Stage::Host], units::runtime),
    (Stage::Endpoint, &[Stage::Certs], endpoint::plan),
    (Stage::Etcd, &[Stage::Certs], etcd::plan),
    (Stage::ControlPlane, &[Stage::Etcd], pods::control_plane),
    (
        Stage::Kubelet,
        &[Stage::Certs, Stage::Runtime],
        units::kubelet,
    ),
    (
        Stage::Api,
        &[Stage::ControlPlane, Stage::Kubelet],
        cluster::api,
    ),
    // Clients of the API server that end when none answers: started beside it they would take
    // the processor that it starts with, end, and come back after kubelet's pauses.
    (Stage::Controllers, &[Stage::Api], pods::controllers),
    // A node can be read and written some time before the API server calls itself ready.
    (Stage::Node, &[Stage::Kubelet], node::mark),
    (Stage::Network, &[Stage::Kubelet], node::network),
    // After the network: these objects let others join, and until one can, this node is alone.
    (
        Stage::Cluster,
        &[Stage::Api, Stage::Network],
        cluster::objects,
    ),
    (Stage::Ready, &[Stage::Node, Stage::Network], node::ready),
    // After Ready, which needs none: a peer that cannot be reached is no fault of this node.
    (Stage::Routes, &[Stage::Network], routes::plan),
    // Another machine's business, helped with where its own agent is away.
    (Stage::Members, &[Stage::Etcd], etcd::others),
    // Other machines' business too.
    (Stage::Serving, &[Stage::Api], serving::plan),
    // It asks by itself for what it needs, where there is a turn to end.
    (Stage::Turn, &[], turn::plan),
];

/// One verdict per stage. Pure and total: the same look gives the same plan.
pub fn plan(desired: &Desired, observed: &Observed, now: i64) -> Plan {
    let look = Look {
        desired,
        observed,
        now,
    };
    let mut stages: Vec<(Stage, Verdict)> = Vec::with_capacity(TABLE.len());
    for (stage, needs, rule) in TABLE {
        let unsettled = |need: &&Stage| {
            stages
                .iter()
                .any(|(s, verdict)| s == *need && *verdict != Verdict::Settled)
        };
        let verdict = match needs.iter().find(unsettled) {
            Some(by) => Verdict::Held { by: *by },
            None => rule(&look),
        };
        stages.push((stage, verdict));
    }
    Plan { stages }
}

/// What one stage has to say, whatever it needs.
pub fn verdict(stage: Stage, desired: &Desired, observed: &Observed, now: i64) -> Option<Verdict> {
    let look = Look {
        desired,
        observed,
        now,
    };
    let row = TABLE.iter().find(|(s, _, _)| *s == stage);
    row.map(|(_, _, rule)| rule(&look))
}

/// What a stage needs, for `status` and the plan checker.
pub fn needs(stage: Stage) -> &'static [Stage] {
    TABLE
        .iter()
        .find(|(s, _, _)| *s == stage)
        .map_or(&[], |(_, needs, _)| needs)
}

/// Writes for those files that are not as desired.
pub(crate) fn writes<'a>(
    observed: &Observed,
    files: impl IntoIterator<Item = &'a RenderedFile>,
) -> Vec<Action> {
    let differs = |f: &&RenderedFile| !observed.has_file(&f.path, &f.digest(), f.mode);
    files
        .into_iter()
        .filter(differs)
        .map(|f| Action::WriteFile { file: f.clone() })
        .collect()
}

/// Removals of what an earlier document had in this folder.
pub(crate) fn removals(look: &Look<'_>, place: &str) -> Vec<Action> {
    let there = look.observed.files.iter();
    let there = there.filter(|(path, seen)| path.starts_with(place) && seen.seen().is_some());
    let stray = |path: &&String| look.desired.files().all(|f| f.path != **path);
    there
        .map(|(path, _)| path)
        .filter(stray)
        .map(|path| Action::RemoveFile { path: path.clone() })
        .collect()
}
