//! Where what we render differs from kubeadm 1.20.2 on purpose, and why.

/// One field that differs, in one file or several.
pub(crate) struct Difference {
    /// The files it differs in.
    pub(crate) files: &'static [&'static str],
    /// The field's path; `{}` stands for the component's name, here and in the values.
    pub(crate) field: &'static str,
    /// kubeadm's value, if it has the field; `*` is any.
    pub(crate) kubeadm: Option<&'static str>,
    /// Our value, if we have the field; `*` is any.
    pub(crate) ours: Option<&'static str>,
    /// Why.
    pub(crate) reason: &'static str,
}

const KUBERNETES: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];
const PODS: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];
const EVERY_POD: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "etcd from a registry",
    "kube-apiserver from a registry",
    "kube-controller-manager from a registry",
    "kube-scheduler from a registry",
];
const EVERY_ETCD: &[&str] = &["etcd", "etcd from a registry"];
const EVERY_MANAGER: &[&str] = &[
    "kube-controller-manager",
    "kube-controller-manager from a registry",
];

const IMAGE: &str = "the pod runs the OS image's own verified binary from the host's /usr";
const USR: &str = "the OS image's binaries and libraries, verified and read-only";
const ETCD_RUNS: &str = "flags and probes follow the etcd that runs, the OS image's 3.5.16, which \
    knows them; they find corruption and keep watch caches fresh";
const PROXY_MODE: &str =
    "the same as unset in 1.20, and said plainly, as kubeadm itself does from 1.37";
const EPHEMERAL: &str = "kubelets refuse the pod for good while the API does not know the storage of a \
    node that has just registered (kubernetes issue 99305); kubeadm's later patch releases of 1.20 and \
    1.21 leave it out as well";
const FLEXVOLUME: &str = "/usr is read-only, so flexvolume drivers cannot be put below it";

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        files: EVERY_POD,
        field: "metadata.uid",
        kubeadm: None,
        ours: Some("*"),
        reason: "an upgraded kubelet must not take an unchanged manifest for a new pod",
    },
    Difference {
        files: KUBERNETES,
        field: "spec.containers[{}].command[]",
        kubeadm: Some("{}"),
        ours: Some("/usr/lib/kubernetes/bin/{}"),
        reason: IMAGE,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].command[]",
        kubeadm: Some("etcd"),
        ours: Some("/usr/bin/etcd"),
        reason: IMAGE,
    },
    Difference {
        files: KUBERNETES,
        field: "spec.containers[{}].image",
        kubeadm: Some("REGISTRY/{}:v1.20.2"),
        ours: Some("localhost/machined/embedded:1"),
        reason: IMAGE,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].image",
        kubeadm: Some("REGISTRY/etcd:3.4.13-0"),
        ours: Some("localhost/machined/embedded:1"),
        reason: IMAGE,
    },
    Difference {
        files: PODS,
        field: "spec.containers[{}].imagePullPolicy",
        kubeadm: Some("IfNotPresent"),
        ours: Some("Never"),
        reason: "the image comes with the OS and is in no registry",
    },
    Difference {
        files: PODS,
        field: "spec.containers[{}].volumeMounts[usr].mountPath",
        kubeadm: None,
        ours: Some("/usr"),
        reason: USR,
    },
    Difference {
        files: PODS,
        field: "spec.containers[{}].volumeMounts[usr].name",
        kubeadm: None,
        ours: Some("usr"),
        reason: USR,
    },
    Difference {
        files: PODS,
        field: "spec.containers[{}].volumeMounts[usr].readOnly",
        kubeadm: None,
        ours: Some("true"),
        reason: USR,
    },
    Difference {
        files: PODS,
        field: "spec.volumes[usr].hostPath.path",
        kubeadm: None,
        ours: Some("/usr"),
        reason: USR,
    },
    Difference {
        files: PODS,
        field: "spec.volumes[usr].hostPath.type",
        kubeadm: None,
        ours: Some("Directory"),
        reason: USR,
    },
    Difference {
        files: PODS,
        field: "spec.volumes[usr].name",
        kubeadm: None,
        ours: Some("usr"),
        reason: USR,
    },
    Difference {
        files: EVERY_ETCD,
        field: "spec.containers[etcd].resources.requests.ephemeral-storage",
        kubeadm: Some("100Mi"),
        ours: None,
        reason: EPHEMERAL,
    },
    Difference {
        files: EVERY_ETCD,
        field: "spec.containers[etcd].command[initial-cluster-token]",
        kubeadm: None,
        ours: Some("3f0c1d2e4b5a69788796a5b4c3d2e1f0"),
        reason: "members of two clusters with the same names and addresses must not mix",
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].command[experimental-initial-corrupt-check]",
        kubeadm: None,
        ours: Some("true"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].command[experimental-watch-progress-notify-interval]",
        kubeadm: None,
        ours: Some("5s"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].livenessProbe.httpGet.path",
        kubeadm: Some("/health"),
        ours: Some("/livez"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].startupProbe.httpGet.path",
        kubeadm: Some("/health"),
        ours: Some("/readyz"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].readinessProbe.failureThreshold",
        kubeadm: None,
        ours: Some("3"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].readinessProbe.httpGet.host",
        kubeadm: None,
        ours: Some("127.0.0.1"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].readinessProbe.httpGet.path",
        kubeadm: None,
        ours: Some("/readyz"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].readinessProbe.httpGet.port",
        kubeadm: None,
        ours: Some("2381"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].readinessProbe.httpGet.scheme",
        kubeadm: None,
        ours: Some("HTTP"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].readinessProbe.periodSeconds",
        kubeadm: None,
        ours: Some("1"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: &["etcd"],
        field: "spec.containers[etcd].readinessProbe.timeoutSeconds",
        kubeadm: None,
        ours: Some("15"),
        reason: ETCD_RUNS,
    },
    Difference {
        files: EVERY_MANAGER,
        field: "spec.containers[kube-controller-manager].command[flex-volume-plugin-dir]",
        kubeadm: None,
        ours: Some("/var/lib/kubelet/volumeplugins"),
        reason: FLEXVOLUME,
    },
    Difference {
        files: EVERY_MANAGER,
        field: "spec.containers[kube-controller-manager].volumeMounts[flexvolume-dir].mountPath",
        kubeadm: Some("/usr/libexec/kubernetes/kubelet-plugins/volume/exec"),
        ours: Some("/var/lib/kubelet/volumeplugins"),
        reason: FLEXVOLUME,
    },
    Difference {
        files: EVERY_MANAGER,
        field: "spec.volumes[flexvolume-dir].hostPath.path",
        kubeadm: Some("/usr/libexec/kubernetes/kubelet-plugins/volume/exec"),
        ours: Some("/var/lib/kubelet/volumeplugins"),
        reason: FLEXVOLUME,
    },
    Difference {
        files: &["kubelet"],
        field: "volumePluginDir",
        kubeadm: None,
        ours: Some("/var/lib/kubelet/volumeplugins"),
        reason: FLEXVOLUME,
    },
    Difference {
        files: &["kubelet"],
        field: "cgroupDriver",
        kubeadm: None,
        ours: Some("systemd"),
        reason: "systemd owns the cgroup tree here, and containerd is told the same; kubeadm 1.20 \
            asks Docker only",
    },
    Difference {
        files: &["kubelet"],
        field: "resolvConf",
        kubeadm: None,
        ours: Some("/run/systemd/resolve/resolv.conf"),
        reason: "as kubeadm does where systemd-resolved runs; the fixture's root has no systemd",
    },
    Difference {
        files: &["kubelet flags"],
        field: "[node-ip]",
        kubeadm: None,
        ours: Some("192.0.2.10"),
        reason: "the config says which address is the node's; the kubelet would guess",
    },
    Difference {
        files: &["kubelet flags"],
        field: "[pod-infra-container-image]",
        kubeadm: None,
        ours: Some("localhost/machined/embedded:1"),
        reason: "image garbage collection must not take the sandbox image, which is in no \
            registry; kubeadm says it for Docker only until 1.21",
    },
    Difference {
        files: &["kubelet flags"],
        field: "[register-with-taints]",
        kubeadm: None,
        ours: Some("node-role.kubernetes.io/master:NoSchedule"),
        reason: "kubeadm says it in a whole init, not in the phase alone; from the first moment \
            no pod may land on a control plane",
    },
    Difference {
        files: &["kube-proxy"],
        field: "clusterCIDR",
        kubeadm: None,
        ours: Some("10.244.0.0/16"),
        reason: "kubeadm sets it to the pod subnet too; the fixture is of no particular cluster",
    },
    Difference {
        files: &["ConfigMap/kube-system/kube-proxy"],
        field: "data.config.conf.mode",
        kubeadm: None,
        ours: Some("iptables"),
        reason: PROXY_MODE,
    },
    Difference {
        files: &["kube-proxy"],
        field: "mode",
        kubeadm: None,
        ours: Some("iptables"),
        reason: PROXY_MODE,
    },
    Difference {
        files: &["ConfigMap/kube-system/kubelet-config-1.20"],
        field: "data.kubelet.cgroupDriver",
        kubeadm: None,
        ours: Some("systemd"),
        reason: "as kubeadm itself does from 1.22: nodes of one cluster should agree",
    },
    Difference {
        files: &["ConfigMap/kube-system/kubelet-config-1.20"],
        field: "data.kubelet.volumePluginDir",
        kubeadm: None,
        ours: Some("/var/lib/kubelet/volumeplugins"),
        reason: FLEXVOLUME,
    },
    Difference {
        files: &[
            "ConfigMap/kube-system/kubelet-config-1.20",
            "ConfigMap/kube-system/kube-proxy",
        ],
        field: "metadata.annotations.kubeadm.kubernetes.io/component-config.hash",
        kubeadm: Some("*"),
        ours: None,
        reason: "the mark that kubeadm may replace the configuration at its next upgrade; it is \
            the agent's to change",
    },
    Difference {
        files: &["ConfigMap/kube-system/kubeadm-config"],
        field: "data.ClusterStatus",
        kubeadm: Some("*"),
        ours: None,
        reason: "gone with 1.22; every control-plane node would have to write the one field, and \
            kubeadm 1.20 finds the endpoints in the pods' annotations",
    },
    Difference {
        files: &["ClusterRoleBinding//kubeadm:apiserver-kubelet-client"],
        field: "(object)",
        kubeadm: None,
        ours: Some("present"),
        reason: "kubeadm has it from 1.37; an API server's client certificate without a group \
            needs it, and it must be there before such a certificate is used",
    },
    Difference {
        files: &[
            "Role/kube-system/kubeadm:kubeadm-certs",
            "RoleBinding/kube-system/kubeadm:kubeadm-certs",
        ],
        field: "(object)",
        kubeadm: None,
        ours: Some("present"),
        reason: "kubeadm makes it when certificates are uploaded, which the fixture does not",
    },
    Difference {
        files: &["Deployment/kube-system/coredns"],
        field: "spec.template.spec.containers[coredns].securityContext.capabilities.drop[0]",
        kubeadm: Some("all"),
        ours: Some("ALL"),
        reason: "the same to every runtime, and the only spelling that Pod Security accepts",
    },
    Difference {
        files: &["Service/kube-system/kube-dns"],
        field: "metadata.labels.kubernetes.io/name",
        kubeadm: Some("KubeDNS"),
        ours: Some("CoreDNS"),
        reason: "a label nothing selects by, as later versions of kubeadm have it",
    },
];
