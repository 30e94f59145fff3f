//! Labels and taints of the node.

use std::collections::BTreeMap;

use machine_config::{KubernetesVersion, MachineConfig, Taint, TaintEffect};

use super::gates;

/// What should be on the Node object. The kubelet sets its part only when it first registers and
/// may not set role labels at all, so the agent sees to all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeMarks {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
}

const ROLE: &str = "node-role.kubernetes.io/control-plane";
const OLD_ROLE: &str = "node-role.kubernetes.io/master";
const NO_LOAD_BALANCER: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The labels and taints that kubeadm of the version gives a node of the role, and the user's.
#[must_use]
pub fn node_marks(config: &MachineConfig) -> NodeMarks {
    let version = *config.kubernetes_version();
    let mut labels = BTreeMap::new();
    if config.role().is_control_plane() {
        labels.insert(ROLE.to_owned(), String::new());
        if gates::MASTER_LABEL.holds(version) {
            labels.insert(OLD_ROLE.to_owned(), String::new());
        }
        if gates::EXCLUDE_FROM_LOAD_BALANCERS.holds(version) {
            labels.insert(NO_LOAD_BALANCER.to_owned(), String::new());
        }
    }
    labels.extend(config.kubelet().labels.clone());
    NodeMarks {
        labels,
        taints: taints(config),
    }
}

/// The taints a node registers with, so that no pod gets onto a control plane before it is marked.
pub(super) fn taints(config: &MachineConfig) -> Vec<Taint> {
    let version = *config.kubernetes_version();
    let mut taints = config.kubelet().taints.clone();
    if !config.role().is_control_plane() || config.allow_scheduling_on_control_planes() {
        return taints;
    }
    for key in role_taint_keys(version) {
        if !taints.iter().any(|taint| taint.key == key) {
            taints.push(Taint {
                key: key.to_owned(),
                value: String::new(),
                effect: TaintEffect::NoSchedule,
            });
        }
    }
    taints
}

/// The taints of a control-plane node in this version.
pub(super) fn role_taint_keys(version: KubernetesVersion) -> impl Iterator<Item = &'static str> {
    [
        (gates::MASTER_TAINT, OLD_ROLE),
        (gates::CONTROL_PLANE_TAINT, ROLE),
    ]
    .into_iter()
    .filter(move |(gate, _)| gate.holds(version))
    .map(|(_, key)| key)
}

/// The taints that what must run on such a node tolerates: the later one ahead of its time, too.
pub(super) fn role_keys(version: KubernetesVersion) -> impl Iterator<Item = &'static str> {
    let old = gates::MASTER_TAINT.holds(version).then_some(OLD_ROLE);
    old.into_iter().chain([ROLE])
}

/// Labels below Kubernetes' own domains that a kubelet may set on its node; it refuses to start
/// with any other of them.
const ALLOWED: [&str; 10] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "beta.kubernetes.io/os",
];

/// Whether the kubelet may register its node with this label.
pub(super) fn kubelet_may_set(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else {
        return true;
    };
    let below = |parent: &str| {
        domain == parent
            || domain
                .strip_suffix(parent)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    if !below("kubernetes.io") && !below("k8s.io") {
        return true;
    }
    below("kubelet.kubernetes.io") || below("node.kubernetes.io") || ALLOWED.contains(&label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_may_not_set_role_labels() {
        for allowed in [
            "tier",
            "example.org/x",
            "node.kubernetes.io/kind",
            "mykubernetes.io/x",
        ] {
            assert!(kubelet_may_set(allowed), "{allowed}");
        }
        assert!(kubelet_may_set("topology.kubernetes.io/zone"));
        for refused in [
            ROLE,
            OLD_ROLE,
            "node-restriction.kubernetes.io/x",
            "x.k8s.io/y",
        ] {
            assert!(!kubelet_may_set(refused), "{refused}");
        }
    }
}
