//! Other tools' configs turned into a `MachineConfig`.
//!
//! Nothing of the input gets lost silently. Each value is carried over, is what a machine does
//! anyway, or is among the findings with its place, the reason and what to do instead. The rooms:
//! `documents` (of all inputs, by kind), `input` (values that are taken out of them), `account` (what
//! became of each), `draft` (the config in the making, which knows where its parts came from), and
//! one for each part of kubeadm's documents.

mod account;
mod args;
mod cluster;
mod documents;
mod draft;
mod finding;
mod input;
mod kubelet;
mod node;
mod proxy;

pub use finding::Finding;

use crate::types::Role;
use account::Account;
use input::Origin;

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What findings call it: a file's name.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// What the input does not say, or what is to be said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// The cluster's id, which only its secrets give.
    pub cluster_id: String,
    /// The cluster's name.
    pub name: Option<String>,
    /// Where everyone reaches the Kubernetes API, `host:port`.
    pub endpoint: Option<String>,
    /// The machine's name.
    pub hostname: Option<String>,
    /// What the machine is for.
    pub role: Option<Role>,
    /// The Kubernetes version.
    pub kubernetes_version: Option<String>,
    /// `embedded` or a registry prefix.
    pub image: Option<String>,
    /// `bridge` or `none`.
    pub network_addon: Option<String>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The `MachineConfig` document. [`crate::read`] accepts it.
    pub config: String,
    /// What of the input is not in it, in the input's order.
    pub left: Vec<Finding>,
}

/// Why nothing was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("import kubeadm's documents: {} problems", .problems.len())]
pub struct Refused {
    /// Every problem, in the input's order. Never empty.
    pub problems: Vec<Finding>,
}

/// Turns kubeadm's documents into the `MachineConfig` of one machine.
///
/// # Errors
/// Every problem of the input, and everything that neither it nor the words say.
pub fn kubeadm(sources: &[Source], words: &Words) -> Result<Imported, Refused> {
    let mut account = Account::default();
    let mut found = documents::read(sources, &mut account);
    if !account.problems.is_empty() {
        return Err(account.refused());
    }
    let had_cluster = found.has(documents::CLUSTER);
    cluster::configuration(found.take(documents::CLUSTER), words, &mut account);
    let init = found.take(documents::INIT);
    let join = found.take(documents::JOIN);
    node::machine(init, join, words, &mut account);
    kubelet::configuration(found.take(documents::KUBELET), &mut account);
    proxy::configuration(found.take(documents::PROXY), &mut account);
    for (kind, item) in found.rest() {
        let (why, instead) = documents::of_no_use(kind);
        account.leave(&item.origin, why, instead);
    }
    if !had_cluster {
        account.leave(
            &Origin::Nowhere(documents::CLUSTER),
            "is not among the input: what all machines share keeps its defaults",
            "add it; kubeadm keeps it as ClusterConfiguration in kube-system's ConfigMap kubeadm-config",
        );
    }
    said(words, &mut account);
    account.settle()
}

/// What only the words say.
fn said(words: &Words, account: &mut Account) {
    use draft::at;
    let id = Origin::Nowhere("the cluster's id");
    account
        .draft
        .set(at(&["cluster", "id"]), words.cluster_id.as_str(), id);
    if let Some(addon) = &words.network_addon {
        let path = at(&["cluster", "networkAddon", "type"]);
        let origin = Origin::Flag("--network-addon");
        account.draft.set(path, addon.as_str(), origin);
    }
    if let Some((endpoint, origin)) = account.endpoint.take() {
        // With Kubernetes' port where none is given, as kubeadm takes it.
        let whole = endpoint.parse::<crate::types::Endpoint>();
        let whole = whole.map_or(endpoint, |endpoint| endpoint.to_string());
        let path = at(&["cluster", "controlPlaneEndpoint"]);
        account.draft.set(path, whole, origin);
    }
}
