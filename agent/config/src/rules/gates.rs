//! Which flags a version's programs know, and which belong to the agent: data only.

use super::args::Program::{self, ApiServer, ControllerManager, Etcd, Kubelet, Scheduler};

/// Flags that a program refuses to start with from or before some 1.x.
pub(super) struct Gate {
    /// The programs concerned.
    pub(super) programs: &'static [Program],
    /// The first minor version that knows the flags; 0 means all did.
    pub(super) since: u16,
    /// The first minor version that no longer knows them.
    pub(super) gone: u16,
    /// The flags.
    pub(super) flags: &'static [&'static str],
    /// What to do instead.
    pub(super) instead: &'static str,
}

const NEVER: u16 = u16::MAX;
const KUBERNETES: &[Program] = &[ApiServer, ControllerManager, Scheduler, Kubelet];

/// Gates in the order of versions.
#[rustfmt::skip]
pub(super) const GATES: &[Gate] = &[
    Gate { programs: &[ControllerManager], since: 0, gone: 22, instead: "remove it",
        flags: &["horizontal-pod-autoscaler-use-rest-clients"] },
    Gate { programs: &[Scheduler], since: 0, gone: 22, instead: "use a KubeSchedulerConfiguration and --config",
        flags: &["algorithm-provider", "hard-pod-affinity-symmetric-weight"] },
    Gate { programs: &[ApiServer, ControllerManager], since: 0, gone: 22, instead: "remove it",
        flags: &["ssh-user", "ssh-keyfile"] },
    Gate { programs: &[Kubelet], since: 0, gone: 22, instead: "remove it",
        flags: &["chaos-chance"] },
    Gate { programs: &[Kubelet], since: 0, gone: 23, instead: "remove it",
        flags: &["experimental-bootstrap-kubeconfig", "seccomp-profile-root"] },
    Gate { programs: &[Scheduler], since: 0, gone: 23, instead: "use a KubeSchedulerConfiguration and --config",
        flags: &["policy-config-file", "policy-configmap", "policy-configmap-namespace", "use-legacy-policy-config"] },
    Gate { programs: &[ApiServer], since: 0, gone: 24, instead: "the insecure port no longer exists; remove it",
        flags: &["address", "insecure-bind-address", "port", "insecure-port"] },
    Gate { programs: &[ApiServer], since: 0, gone: 24, instead: "remove it",
        flags: &["target-ram-mb", "experimental-encryption-provider-config"] },
    Gate { programs: &[ControllerManager, Scheduler], since: 0, gone: 24, instead: "use bind-address and secure-port",
        flags: &["address", "port"] },
    Gate { programs: &[Kubelet], since: 0, gone: 24, instead: "dockershim no longer exists; remove it",
        flags: &["cni-conf-dir", "cni-bin-dir", "cni-cache-dir", "docker-endpoint", "image-pull-progress-deadline",
            "network-plugin-mtu", "experimental-dockershim-root-directory"] },
    Gate { programs: &[Kubelet], since: 0, gone: 24, instead: "remove it",
        flags: &["non-masquerade-cidr", "experimental-check-node-capabilities-before-mount", "really-crash-for-testing"] },
    Gate { programs: &[ControllerManager], since: 0, gone: 25, instead: "use cluster-signing-duration",
        flags: &["experimental-cluster-signing-duration"] },
    Gate { programs: &[ControllerManager], since: 0, gone: 25, instead: "remove it",
        flags: &["deleting-pods-qps", "deleting-pods-burst"] },
    Gate { programs: &[Kubelet], since: 0, gone: 25, instead: "use kernel-memcg-notification",
        flags: &["experimental-kernel-memcg-notification"] },
    Gate { programs: KUBERNETES, since: 0, gone: 26, instead: "logs go to standard error only; remove it",
        flags: &["logtostderr", "alsologtostderr", "stderrthreshold", "log-dir", "log-file", "log-file-max-size",
            "one-output", "skip-headers", "skip-log-headers", "add-dir-header", "log-backtrace-at"] },
    Gate { programs: &[Kubelet], since: 0, gone: 27, instead: "remove it",
        flags: &["master-service-namespace"] },
    Gate { programs: &[ControllerManager], since: 0, gone: 27, instead: "taint based eviction is always on; remove it",
        flags: &["enable-taint-manager", "pod-eviction-timeout"] },
    Gate { programs: &[Scheduler], since: 0, gone: 28, instead: "use leader-elect-resource-name and -namespace",
        flags: &["lock-object-name", "lock-object-namespace"] },
    Gate { programs: &[Kubelet], since: 0, gone: 30, instead: "remove it",
        flags: &["iptables-masquerade-bit", "iptables-drop-bit"] },
    Gate { programs: &[Kubelet], since: 0, gone: 31, instead: "remove it",
        flags: &["keep-terminated-pod-volumes"] },
    Gate { programs: &[ControllerManager], since: 0, gone: 31,
        instead: "use horizontal-pod-autoscaler-downscale-stabilization",
        flags: &["horizontal-pod-autoscaler-upscale-delay", "horizontal-pod-autoscaler-downscale-delay"] },
    Gate { programs: &[Kubelet], since: 0, gone: 32, instead: "remove it",
        flags: &["runonce"] },
    Gate { programs: &[ApiServer], since: 0, gone: 33, instead: "run an external cloud controller manager",
        flags: &["cloud-provider", "cloud-config"] },
    Gate { programs: &[Kubelet], since: 0, gone: 34, instead: "remove it",
        flags: &["cloud-config", "register-schedulable"] },
    Gate { programs: &[Kubelet], since: 0, gone: 37, instead: "remove it",
        flags: &["application-metrics-count-limit", "boot-id-file", "container-hints", "containerd",
            "containerd-namespace", "enable-load-reader", "event-storage-age-limit", "event-storage-event-limit",
            "global-housekeeping-interval", "log-cadvisor-usage", "machine-id-file", "storage-driver-buffer-duration",
            "storage-driver-db", "storage-driver-host", "storage-driver-password", "storage-driver-secure",
            "storage-driver-table", "storage-driver-user"] },
    Gate { programs: &[ControllerManager], since: 0, gone: 37, instead: "remove it",
        flags: &["concurrent-service-syncs"] },
    Gate { programs: &[ApiServer], since: 29, gone: NEVER, instead: "use authorization-mode",
        flags: &["authorization-config"] },
    Gate { programs: &[ApiServer], since: 29, gone: NEVER, instead: "use the oidc flags",
        flags: &["authentication-config"] },
    Gate { programs: &[ApiServer, ControllerManager, Scheduler], since: 31, gone: NEVER, instead: "remove it",
        flags: &["emulated-version"] },
    Gate { programs: &[ApiServer], since: 32, gone: NEVER, instead: "remove it",
        flags: &["service-account-signing-endpoint"] },
    Gate { programs: &[ApiServer, ControllerManager, Scheduler], since: 35, gone: NEVER, instead: "remove it",
        flags: &["min-compatibility-version"] },
];

/// Flags whose values some versions refuse.
pub(super) struct ValueGate {
    pub(super) program: Program,
    pub(super) flag: &'static str,
    /// The first minor version that refuses the value.
    pub(super) gone: u16,
    pub(super) refused: fn(&str) -> bool,
    pub(super) message: &'static str,
    pub(super) instead: &'static str,
}

fn has_pod_security_policy(value: &str) -> bool {
    value
        .split(',')
        .any(|plugin| plugin.trim() == "PodSecurityPolicy")
}

fn is_false(value: &str) -> bool {
    matches!(value, "false" | "False" | "FALSE" | "f" | "F" | "0")
}

fn lacks_node_or_rbac(value: &str) -> bool {
    let has = |mode: &str| value.split(',').any(|word| word.trim() == mode);
    !has("Node") || !has("RBAC")
}

/// Values in the order of versions.
pub(super) const VALUE_GATES: &[ValueGate] = &[
    ValueGate {
        program: ApiServer,
        flag: "insecure-port",
        gone: 20,
        refused: |value| value != "0",
        message: "only 0 is accepted",
        instead: "the insecure port no longer exists; remove it",
    },
    ValueGate {
        program: ApiServer,
        flag: "anonymous-auth",
        gone: 20,
        refused: is_false,
        message: "kubelet asks for the API server's health without credentials, and would end it",
        instead: "remove it",
    },
    ValueGate {
        program: ApiServer,
        flag: "authorization-mode",
        gone: 20,
        refused: lacks_node_or_rbac,
        message: "Node and RBAC are what nodes, probes and the cluster's own objects need",
        instead: "Node,RBAC, and others beside them",
    },
    ValueGate {
        program: ControllerManager,
        flag: "node-cidr-mask-size",
        gone: 20,
        refused: |value| !value.parse::<u8>().is_ok_and(|length| length <= 128),
        message: "it is no prefix length",
        instead: "a number, for example 24",
    },
    ValueGate {
        program: ApiServer,
        flag: "enable-admission-plugins",
        gone: 25,
        refused: has_pod_security_policy,
        message: "PodSecurityPolicy no longer exists",
        instead: "use PodSecurity",
    },
    ValueGate {
        program: ApiServer,
        flag: "disable-admission-plugins",
        gone: 25,
        refused: has_pod_security_policy,
        message: "PodSecurityPolicy no longer exists",
        instead: "remove it from the list",
    },
    ValueGate {
        program: ControllerManager,
        flag: "cloud-provider",
        gone: 32,
        refused: |value| !matches!(value, "" | "external"),
        message: "cloud controllers are no longer inside",
        instead: "external, with a cloud controller manager of its own",
    },
];

/// Flags the agent sets and depends on.
pub(super) struct Owned {
    pub(super) programs: &'static [Program],
    pub(super) flags: &'static [&'static str],
    /// Where the same is said instead.
    pub(super) instead: &'static str,
}

const CERTIFICATES: &str = "certificates and kubeconfigs are the agent's";

/// Owned flags by program.
#[rustfmt::skip]
pub(super) const OWNED: &[Owned] = &[
    Owned { programs: &[ApiServer], instead: "the agent knows etcd's members; cluster.etcd.external names another etcd",
        flags: &["etcd-servers", "etcd-cafile", "etcd-certfile", "etcd-keyfile"] },
    Owned { programs: &[ApiServer], instead: CERTIFICATES,
        flags: &["client-ca-file", "tls-cert-file", "tls-private-key-file", "kubelet-client-certificate",
            "kubelet-client-key", "proxy-client-cert-file", "proxy-client-key-file", "requestheader-client-ca-file",
            "service-account-key-file", "service-account-signing-key-file"] },
    Owned { programs: &[ApiServer, ControllerManager], instead: "use cluster.networking.serviceSubnet",
        flags: &["service-cluster-ip-range"] },
    Owned { programs: &[ApiServer], instead: "use machine.nodeAddress or machine.kubelet.nodeIP",
        flags: &["advertise-address"] },
    Owned { programs: &[ApiServer], instead: "the API server always listens on 6443",
        flags: &["secure-port"] },
    Owned { programs: &[ApiServer], instead: "it listens on every address: members and nodes ask it at the node's",
        flags: &["bind-address"] },
    Owned { programs: &[ControllerManager, Scheduler], instead: "kubelet asks for their health at their own ports",
        flags: &["secure-port"] },
    Owned { programs: &[ApiServer], instead: "use encryptionKey in ClusterSecrets",
        flags: &["encryption-provider-config"] },
    Owned { programs: &[ControllerManager, Scheduler], instead: CERTIFICATES,
        flags: &["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] },
    Owned { programs: &[ControllerManager], instead: CERTIFICATES,
        flags: &["client-ca-file", "root-ca-file", "cluster-signing-cert-file", "cluster-signing-key-file",
            "service-account-private-key-file", "requestheader-client-ca-file"] },
    Owned { programs: &[ControllerManager], instead: "use cluster.networking.podSubnet",
        flags: &["cluster-cidr"] },
    Owned { programs: &[ControllerManager], instead: "use cluster.name",
        flags: &["cluster-name"] },
    Owned { programs: &[Etcd], instead: "membership is the agent's",
        flags: &["name", "initial-cluster", "initial-cluster-state", "initial-cluster-token", "force-new-cluster",
            "discovery", "discovery-srv", "discovery-endpoints", "discovery-token", "config-file", "proxy",
            "strict-reconfig-check"] },
    Owned { programs: &[Etcd], instead: "etcd's data stays on its own partition",
        flags: &["data-dir", "wal-dir"] },
    Owned { programs: &[Etcd], instead: "use machine.nodeAddress or machine.kubelet.nodeIP",
        flags: &["listen-client-urls", "advertise-client-urls", "listen-peer-urls",
            "initial-advertise-peer-urls"] },
    Owned { programs: &[Etcd], instead: "kubelet and the agent ask for its health on loopback",
        flags: &["listen-metrics-urls"] },
    Owned { programs: &[Etcd], instead: CERTIFICATES,
        flags: &["cert-file", "key-file", "trusted-ca-file", "client-cert-auth", "auto-tls", "peer-cert-file",
            "peer-key-file", "peer-trusted-ca-file", "peer-client-cert-auth", "peer-auto-tls"] },
    Owned { programs: &[Kubelet], instead: "use machine.kubelet.extraConfig",
        flags: &["config", "config-dir", "dynamic-config-dir"] },
    Owned { programs: &[Kubelet], instead: CERTIFICATES,
        flags: &["kubeconfig", "bootstrap-kubeconfig", "cert-dir", "client-ca-file", "tls-cert-file",
            "tls-private-key-file"] },
    Owned { programs: &[Kubelet], instead: "use machine.hostname",
        flags: &["hostname-override"] },
    Owned { programs: &[Kubelet], instead: "use machine.kubelet.nodeIP",
        flags: &["node-ip"] },
    Owned { programs: &[Kubelet], instead: "use machine.kubelet.nodeLabels",
        flags: &["node-labels"] },
    Owned { programs: &[Kubelet], instead: "use machine.kubelet.taints",
        flags: &["register-with-taints"] },
    Owned { programs: &[Kubelet], instead: "use machine.containerd.sandboxImage",
        flags: &["pod-infra-container-image"] },
    Owned { programs: &[Kubelet], instead: "containerd is the only runtime",
        flags: &["container-runtime", "container-runtime-endpoint", "image-service-endpoint", "network-plugin",
            "cgroup-driver"] },
    Owned { programs: &[Kubelet], instead: "the agent supervises the kubelet in its place",
        flags: &["root-dir", "pod-manifest-path", "manifest-url", "healthz-port", "healthz-bind-address",
            "rotate-certificates", "register-node"] },
    Owned { programs: &[Kubelet], instead: "use cluster.networking.dnsDomain",
        flags: &["cluster-domain"] },
];

/// Fields of `KubeletConfiguration` the agent sets and depends on, and where they are said instead.
pub(super) const OWNED_FIELDS: &[(&[&str], &str)] = &[
    (
        &["apiVersion"],
        "it is always kubelet.config.k8s.io/v1beta1",
    ),
    (&["kind"], "it is always KubeletConfiguration"),
    (
        &["staticPodPath"],
        "the agent writes static pods in its place",
    ),
    (
        &["staticPodURL"],
        "the agent writes static pods in its place",
    ),
    (&["authentication", "x509", "clientCAFile"], CERTIFICATES),
    (&["tlsCertFile"], CERTIFICATES),
    (&["tlsPrivateKeyFile"], CERTIFICATES),
    (&["rotateCertificates"], CERTIFICATES),
    (&["cgroupDriver"], "containerd is set up for systemd"),
    (
        &["containerRuntimeEndpoint"],
        "containerd is the only runtime",
    ),
    (&["imageServiceEndpoint"], "containerd is the only runtime"),
    (&["healthzPort"], "the agent asks for health in its place"),
    (
        &["healthzBindAddress"],
        "the agent asks for health in its place",
    ),
    (&["clusterDomain"], "use cluster.networking.dnsDomain"),
    (&["registerWithTaints"], "use machine.kubelet.taints"),
    (&["registerNode"], "the agent waits for the node"),
];

/// Fields of `KubeletConfiguration` by the first 1.x that knows them: older kubelets decode
/// strictly and do not start. None was ever removed.
pub(super) const FIELDS_SINCE: &[(u16, &[&str])] = &[
    (21, &["memoryManagerPolicy", "reservedMemory"]),
    (22, &["seccompDefault"]),
    (25, &["tracing", "localStorageCapacityIsolation"]),
    (27, &["maxParallelImagePulls"]),
    (29, &["imageMaximumGCAge"]),
    (30, &["podLogsDir"]),
    (31, &["failCgroupV1"]),
    (32, &["crashLoopBackOff", "singleProcessOOMKill"]),
    (
        33,
        &["userNamespaces", "imagePullCredentialsVerificationPolicy"],
    ),
    (36, &["tlsCurvePreferences", "memoryReservationPolicy"]),
];
