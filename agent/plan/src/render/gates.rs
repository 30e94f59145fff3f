//! What changed between Kubernetes minors, as data.
//!
//! Each gate is the half-open range of 1.x minors in which something holds. This is the only place
//! where a minor is compared: renderers ask a gate by its name.

use machine_config::KubernetesVersion;

/// A range of minors, `from` included, `until` excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    from: u16,
    until: u16,
}

const fn since(minor: u16) -> Gate {
    Gate {
        from: minor,
        until: u16::MAX,
    }
}

const fn until(minor: u16) -> Gate {
    Gate {
        from: 0,
        until: minor,
    }
}

const fn between(from: u16, until: u16) -> Gate {
    Gate { from, until }
}

impl Gate {
    /// Whether it holds in this version.
    #[must_use]
    pub fn holds(self, version: KubernetesVersion) -> bool {
        (self.from..self.until).contains(&version.minor())
    }
}

// --- every control-plane pod ---

/// kubeadm sorts the user's arguments among its own; from 1.36 only its own are sorted, because
/// the order of a repeated `service-account-issuer` means something.
pub const ALL_ARGUMENTS_SORTED: Gate = until(36);
/// Pods run under the runtime's default seccomp profile.
pub const SECCOMP_DEFAULT: Gate = since(22);
/// `priority` stands beside its class: without it the kubelet takes a static pod for priority 0
/// until the API server has resolved the class.
pub const POD_PRIORITY: Gate = since(27);
/// Probes name their port instead of repeating its number.
pub const NAMED_PROBE_PORT: Gate = since(34);
/// Dual stack stands behind an alpha gate that every component must be told; beta from 1.21.
pub const DUAL_STACK_IS_ALPHA: Gate = until(21);

/// The node authorizer lets a node read no other nodes (AuthorizeNodeWithSelectors).
pub const NODES_SEE_THEMSELVES_ONLY: Gate = since(32);

// --- kube-apiserver ---

/// `insecure-port` must be set to 0; kubeadm drops it in 1.22, the binary refuses it from 1.24.
pub const APISERVER_INSECURE_PORT: Gate = until(22);
/// `authorization-config` may stand in for `authorization-mode`.
pub const AUTHORIZATION_CONFIG: Gate = since(30);

// --- kube-controller-manager ---

/// `port` must be set to 0; gone from the binary in 1.24.
pub const CONTROLLER_MANAGER_INSECURE_PORT: Gate = until(23);
/// The flexvolume directory is mounted.
pub const FLEXVOLUME: Gate = until(36);

// --- kube-scheduler ---

/// `port` must be set to 0; gone from the binary in 1.24.
pub const SCHEDULER_INSECURE_PORT: Gate = until(23);
/// The scheduler has `/livez` and `/readyz`; before, only `/healthz`.
pub const SCHEDULER_LIVEZ: Gate = since(32);

// --- etcd ---

/// etcd checks its data against its peers when it starts.
pub const ETCD_CORRUPT_CHECK: Gate = since(24);
/// etcd reports progress on idle watches every 5 s, so that watch caches stay fresh.
pub const ETCD_WATCH_PROGRESS: Gate = since(25);
/// etcd's probes tell NOSPACE from death.
pub const ETCD_HEALTH_QUERIES: Gate = between(25, 31);
/// etcd's probes are `/livez` and `/readyz`.
pub const ETCD_LIVEZ: Gate = since(31);

// --- kubelet ---

/// `container-runtime=remote` must be said, the default being Docker.
pub const KUBELET_CONTAINER_RUNTIME: Gate = until(26);
/// The runtime's socket is given by flag; later it is a field of the configuration.
pub const KUBELET_RUNTIME_ENDPOINT_FLAG: Gate = until(34);
/// `pod-infra-container-image` keeps image garbage collection off the sandbox image; the binary
/// refuses the flag from 1.35, when the runtime itself pins that image.
pub const KUBELET_POD_INFRA_IMAGE: Gate = until(35);
/// Graceful node shutdown is on by default.
pub const KUBELET_GRACEFUL_SHUTDOWN: Gate = since(21);
/// `failCgroupV1` exists.
pub const KUBELET_FAIL_CGROUP_V1: Gate = since(31);
/// Both families may be given as `node-ip`.
pub const KUBELET_TWO_NODE_IPS: Gate = since(21);
/// The kubelet of a control plane asks the API server beside it, not the cluster's endpoint.
pub const KUBELET_LOCAL_API_SERVER: Gate = since(33);

// --- objects in the cluster ---

/// The kubelet's ConfigMap and its role carry the minor in their names.
pub const KUBELET_CONFIG_MAP_BY_MINOR: Gate = until(24);
/// The admin kubeconfig is of the group `kubeadm:cluster-admins`, which must be bound.
pub const CLUSTER_ADMINS_GROUP: Gate = since(29);
/// `kubeadm.k8s.io/v1beta2`.
pub const KUBEADM_V1BETA2: Gate = until(22);
/// `kubeadm.k8s.io/v1beta3`.
pub const KUBEADM_V1BETA3: Gate = between(22, 31);
/// `kubeadm.k8s.io/v1beta4`, in which arguments are lists.
pub const KUBEADM_V1BETA4: Gate = since(31);
/// CoreDNS has a folder of its own in the registry.
pub const COREDNS_FOLDER: Gate = since(21);
/// CoreDNS may read EndpointSlices.
pub const COREDNS_ENDPOINT_SLICES: Gate = since(21);
/// Replicas of CoreDNS keep off each other's nodes.
pub const COREDNS_ANTI_AFFINITY: Gate = since(25);

// --- marks on a control-plane node ---

/// The label `node-role.kubernetes.io/master`.
pub const MASTER_LABEL: Gate = until(24);
/// The taint of the same name.
pub const MASTER_TAINT: Gate = until(25);
/// The taint `node-role.kubernetes.io/control-plane`.
pub const CONTROL_PLANE_TAINT: Gate = since(24);
/// Load balancers outside leave control-plane nodes alone by this label.
pub const EXCLUDE_FROM_LOAD_BALANCERS: Gate = since(21);

#[cfg(test)]
mod tests {
    use super::*;

    fn v(minor: u16) -> KubernetesVersion {
        format!("v1.{minor}.0").parse().unwrap()
    }

    #[test]
    fn a_gate_includes_its_start_and_excludes_its_end() {
        assert!(!ETCD_HEALTH_QUERIES.holds(v(24)));
        assert!(ETCD_HEALTH_QUERIES.holds(v(25)));
        assert!(ETCD_HEALTH_QUERIES.holds(v(30)));
        assert!(!ETCD_HEALTH_QUERIES.holds(v(31)));
    }

    #[test]
    fn every_version_has_exactly_one_kubeadm_format_and_some_taint() {
        for minor in KubernetesVersion::OLDEST_MINOR..=KubernetesVersion::NEWEST_MINOR {
            let formats = [KUBEADM_V1BETA2, KUBEADM_V1BETA3, KUBEADM_V1BETA4];
            assert_eq!(
                formats.iter().filter(|gate| gate.holds(v(minor))).count(),
                1
            );
            assert!(MASTER_TAINT.holds(v(minor)) || CONTROL_PLANE_TAINT.holds(v(minor)));
        }
    }
}
