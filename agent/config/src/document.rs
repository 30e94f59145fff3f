//! The documents as they are written, version 1. The comments here are the reference that users
//! read: units, formats and defaults belong in them.
//!
//! Nothing here is checked beyond its shape; [`crate::machine`] holds the rules.

use std::collections::BTreeMap;

use machine_pki::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::types::{PathType, Role, TaintEffect};

/// The `apiVersion` of every document this build reads.
pub(crate) const API_VERSION: &str = "machined/v1";
/// The `kind` of the document without secrets.
pub(crate) const MACHINE_CONFIG: &str = "MachineConfig";
/// The `kind` of the document with them.
pub(crate) const CLUSTER_SECRETS: &str = "ClusterSecrets";

/// Everything one machine should be, without secrets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "MachineConfig")]
pub(crate) struct MachineDocument {
    /// Always `machined/v1`.
    #[schemars(extend("const" = API_VERSION))]
    #[allow(dead_code, reason = "judged before the shape is")]
    pub(crate) api_version: String,
    /// Always `MachineConfig`.
    #[schemars(extend("const" = MACHINE_CONFIG))]
    #[allow(dead_code, reason = "judged before the shape is")]
    pub(crate) kind: String,
    /// What is this machine's own.
    pub(crate) machine: MachineSection,
    /// What all machines of the cluster share.
    pub(crate) cluster: ClusterSection,
}

/// What is this machine's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Machine")]
pub(crate) struct MachineSection {
    /// What the machine is for.
    pub(crate) role: Role,
    /// The machine's name and its node name: a lower-case RFC 1123 name of at most 63 characters.
    pub(crate) hostname: String,
    /// How the machine reaches others. Without it: DHCP on every Ethernet interface.
    #[serde(default)]
    pub(crate) network: NetworkSection,
    /// Which of the machine's addresses is the node's.
    #[serde(default)]
    pub(crate) node_address: NodeAddressSection,
    /// What the kubelet gets beyond its defaults.
    #[serde(default)]
    pub(crate) kubelet: KubeletSection,
    /// What containerd gets beyond its defaults.
    #[serde(default)]
    pub(crate) containerd: ContainerdSection,
    /// Kernel parameters by dotted name, for example `net.core.somaxconn: "65535"`. They are set
    /// over the machine's own.
    #[serde(default)]
    pub(crate) sysctls: BTreeMap<String, String>,
    /// Kernel modules to load at boot, for example `br_netfilter`.
    #[serde(default)]
    pub(crate) kernel_modules: Vec<String>,
    /// Further DNS names and IP addresses of the machine API's certificate.
    #[serde(default, rename = "certSANs")]
    pub(crate) cert_sans: Vec<String>,
}

/// How the machine reaches others.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Network")]
pub(crate) struct NetworkSection {
    /// The interfaces to configure. Without any: DHCP on every Ethernet interface.
    #[serde(default)]
    pub(crate) interfaces: Vec<InterfaceSection>,
    /// Addresses of DNS servers. Without any: those that DHCP names.
    #[serde(default)]
    pub(crate) nameservers: Vec<String>,
    /// Names or addresses of NTP servers. Without any: those of the image.
    #[serde(default)]
    pub(crate) time_servers: Vec<String>,
}

/// One network interface, chosen by exactly one of `name`, `hardwareAddress` and `driver`, with
/// `dhcp`, `addresses` or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Interface")]
pub(crate) struct InterfaceSection {
    /// The kernel's name of the interface, for example `eth0`; `*` and `?` match several.
    pub(crate) name: Option<String>,
    /// The hardware address, for example `52:54:00:12:34:56`.
    pub(crate) hardware_address: Option<String>,
    /// The kernel driver, for example `virtio_net`.
    pub(crate) driver: Option<String>,
    /// Whether addresses come from DHCP (IPv4 and IPv6).
    #[serde(default)]
    pub(crate) dhcp: bool,
    /// Static addresses with prefix length, for example `10.0.2.15/24`.
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    /// Static routes.
    #[serde(default)]
    pub(crate) routes: Vec<RouteSection>,
    /// The MTU in bytes, 576 to 65535, and at least 1280 where IPv6 is used. Without it: the
    /// driver's.
    pub(crate) mtu: Option<u32>,
}

/// A static route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Route")]
pub(crate) struct RouteSection {
    /// The destination in CIDR form; `0.0.0.0/0` or `::/0` is the default route.
    pub(crate) to: String,
    /// The gateway's address, reachable through one of `addresses` unless DHCP gives them. Without
    /// it the destination is on the link itself.
    pub(crate) via: Option<String>,
    /// The metric; the lowest wins. Without it: the system's.
    pub(crate) metric: Option<u32>,
}

/// Which of the machine's addresses is the node's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "NodeAddress")]
pub(crate) struct NodeAddressSection {
    /// Subnets in CIDR form; the node's address is the first one inside any of them. Without any:
    /// the address of the default route.
    #[serde(default)]
    pub(crate) subnets: Vec<String>,
}

/// What the kubelet gets beyond its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Kubelet")]
pub(crate) struct KubeletSection {
    /// Command line arguments. Those the agent itself depends on are refused.
    #[serde(default)]
    pub(crate) extra_args: Vec<ArgSection>,
    /// Fields of `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1), merged over the rendered
    /// ones; lists are replaced whole. Those the agent itself depends on are refused.
    #[serde(default)]
    pub(crate) extra_config: serde_json::Map<String, serde_json::Value>,
    /// Labels of the node. Below `kubernetes.io` and `k8s.io` only those a kubelet may set itself.
    #[serde(default)]
    pub(crate) node_labels: BTreeMap<String, String>,
    /// Taints the node registers with.
    #[serde(default)]
    pub(crate) taints: Vec<TaintSection>,
    /// The node's address. Without it, or when empty: chosen by `machine.nodeAddress`.
    #[serde(default, rename = "nodeIP")]
    pub(crate) node_ip: String,
}

/// One command line argument, `--name=value`. A name may occur several times.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Arg")]
pub(crate) struct ArgSection {
    /// The flag without its dashes, for example `v`.
    pub(crate) name: String,
    /// The value; may be empty.
    pub(crate) value: String,
}

/// A taint of the node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Taint")]
pub(crate) struct TaintSection {
    /// The key, for example `example.com/dedicated`.
    pub(crate) key: String,
    /// The value; may be empty.
    #[serde(default)]
    pub(crate) value: String,
    /// What happens to pods that do not tolerate it.
    pub(crate) effect: TaintEffect,
}

/// What containerd gets beyond its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Containerd")]
pub(crate) struct ContainerdSection {
    /// Where images are fetched instead, by registry host (`docker.io`, `registry.example:5000`);
    /// `*` stands for any other registry.
    #[serde(default)]
    pub(crate) registry_mirrors: BTreeMap<String, MirrorSection>,
    /// The image that every pod's sandbox runs. Without it, or when empty: the one inside the OS
    /// image, which needs no registry.
    #[serde(default)]
    pub(crate) sandbox_image: String,
}

/// Where images of one registry are fetched instead.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Mirror")]
pub(crate) struct MirrorSection {
    /// `http://` or `https://` URLs without credentials, tried in order.
    pub(crate) endpoints: Vec<String>,
}

/// What all machines of the cluster share.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Cluster")]
pub(crate) struct ClusterSection {
    /// The cluster's name: a lower-case RFC 1123 label.
    pub(crate) name: String,
    /// What tells this cluster from any other, also from one of the same name: 8 to 64 of `0-9`,
    /// `a-f` and `-`. Made by `machinectl gen config`; never changes.
    pub(crate) id: String,
    /// Where the Kubernetes API is reached by everyone, `host:port`; the port defaults to 6443. A
    /// load balancer, a name, or the address of the only control plane machine.
    pub(crate) control_plane_endpoint: String,
    /// The Kubernetes version, for example `v1.20.2`; v1.20 to v1.37 are known.
    pub(crate) kubernetes_version: String,
    /// The cluster's address ranges and domain.
    #[serde(default)]
    pub(crate) networking: NetworkingSection,
    /// What kube-apiserver gets beyond its defaults.
    #[serde(default)]
    pub(crate) api_server: ApiServerSection,
    /// What kube-controller-manager gets beyond its defaults.
    #[serde(default)]
    pub(crate) controller_manager: ComponentSection,
    /// What kube-scheduler gets beyond its defaults.
    #[serde(default)]
    pub(crate) scheduler: ComponentSection,
    /// What etcd gets beyond its defaults.
    #[serde(default)]
    pub(crate) etcd: EtcdSection,
    /// How pods reach each other.
    #[serde(default)]
    pub(crate) network_addon: NetworkAddonSection,
    /// Manifests (YAML text, one or more documents each) applied once the cluster is up.
    #[serde(default)]
    pub(crate) extra_manifests: Vec<String>,
    /// Where the control plane's programs come from: `embedded` for the image's own verified
    /// binaries, or a registry prefix such as `registry.example/k8s`, below which
    /// `kube-apiserver:<version>` and its siblings are found.
    #[serde(default = "embedded")]
    pub(crate) image: String,
    /// Whether pods may be scheduled on control plane machines.
    #[serde(default)]
    pub(crate) allow_scheduling_on_control_planes: bool,
}

/// The cluster's address ranges and domain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Networking")]
pub(crate) struct NetworkingSection {
    /// The range of pod addresses in CIDR form; for dual stack one IPv4 and one IPv6 range,
    /// separated by a comma, the first family being the preferred one.
    pub(crate) pod_subnet: String,
    /// The range of service addresses in CIDR form, of at most 20 host bits (IPv4: /12, IPv6:
    /// /108); for dual stack as `podSubnet`, in the same order.
    pub(crate) service_subnet: String,
    /// The domain of services and pods.
    pub(crate) dns_domain: String,
}

impl Default for NetworkingSection {
    fn default() -> Self {
        Self {
            pod_subnet: "10.244.0.0/16".to_owned(),
            service_subnet: "10.96.0.0/12".to_owned(),
            dns_domain: "cluster.local".to_owned(),
        }
    }
}

/// What kube-apiserver gets beyond its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "APIServer")]
pub(crate) struct ApiServerSection {
    /// Command line arguments; they replace all defaults of the same name. Those the agent itself
    /// depends on are refused.
    pub(crate) extra_args: Vec<ArgSection>,
    /// Host paths mounted into the pod.
    pub(crate) extra_volumes: Vec<VolumeSection>,
    /// Further DNS names and IP addresses of the API server's certificate.
    #[serde(rename = "certSANs")]
    pub(crate) cert_sans: Vec<String>,
}

/// What one control plane component gets beyond its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Component")]
pub(crate) struct ComponentSection {
    /// Command line arguments; they replace all defaults of the same name. Those the agent itself
    /// depends on are refused.
    pub(crate) extra_args: Vec<ArgSection>,
    /// Host paths mounted into the pod.
    pub(crate) extra_volumes: Vec<VolumeSection>,
}

/// What etcd gets beyond its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Etcd")]
pub(crate) struct EtcdSection {
    /// Command line arguments; they replace all defaults of the same name. Those the agent itself
    /// depends on (membership, addresses, certificates) are refused.
    pub(crate) extra_args: Vec<ArgSection>,
    /// Host paths mounted into the pod.
    pub(crate) extra_volumes: Vec<VolumeSection>,
    /// Further DNS names and IP addresses of etcd's server certificate.
    #[serde(rename = "serverCertSANs")]
    pub(crate) server_cert_sans: Vec<String>,
    /// Further DNS names and IP addresses of etcd's peer certificate.
    #[serde(rename = "peerCertSANs")]
    pub(crate) peer_cert_sans: Vec<String>,
}

/// A host path mounted into a component's pod.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Volume")]
pub(crate) struct VolumeSection {
    /// The volume's name in the pod: a lower-case RFC 1123 label.
    pub(crate) name: String,
    /// The absolute path on the machine.
    pub(crate) host_path: String,
    /// The absolute path in the pod.
    pub(crate) mount_path: String,
    /// Whether the pod may only read it.
    #[serde(default)]
    pub(crate) read_only: bool,
    /// What must be at the host path before the pod starts. Without it nothing is checked.
    pub(crate) path_type: Option<PathType>,
}

/// How pods reach each other.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "NetworkAddon")]
pub(crate) struct NetworkAddonSection {
    /// Which network.
    #[serde(rename = "type")]
    pub(crate) kind: NetworkAddonKind,
    /// For type `manifests`: YAML text, one or more documents each.
    pub(crate) manifests: Vec<String>,
}

/// Which pod network.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NetworkAddonKind {
    /// The built-in bridge, with routes between machines.
    #[default]
    Bridge,
    /// Nothing; someone else installs a network.
    None,
    /// The manifests beside it.
    Manifests,
}

/// The cluster's secrets. Keep it apart from the `MachineConfig`; no answer of the API shows it.
///
/// A control plane machine needs every key, to sign certificates. A worker must hold none: its
/// document has only the certificates of `machineCA` and `kubernetesCA`, and the bootstrap token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ClusterSecrets")]
pub(crate) struct SecretsDocument {
    /// Always `machined/v1`.
    #[schemars(extend("const" = API_VERSION))]
    #[allow(dead_code, reason = "judged before the shape is")]
    pub(crate) api_version: String,
    /// Always `ClusterSecrets`.
    #[schemars(extend("const" = CLUSTER_SECRETS))]
    #[allow(dead_code, reason = "judged before the shape is")]
    pub(crate) kind: String,
    /// The authority of the machine API: its servers and its clients.
    #[serde(rename = "machineCA")]
    pub(crate) machine_ca: CaSection,
    /// The authority of the Kubernetes API.
    #[serde(rename = "kubernetesCA")]
    pub(crate) kubernetes_ca: CaSection,
    /// The authority of etcd's servers, peers and clients.
    #[serde(rename = "etcdCA")]
    pub(crate) etcd_ca: Option<CaSection>,
    /// The authority of the API server's aggregation clients.
    #[serde(rename = "frontProxyCA")]
    pub(crate) front_proxy_ca: Option<CaSection>,
    /// The key pair that signs service account tokens.
    pub(crate) service_account: Option<ServiceAccountSection>,
    /// The token a new node first speaks to the cluster with, `abcdef.0123456789abcdef`.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) bootstrap_token: Option<Secret>,
    /// The key that encrypts Kubernetes Secrets inside etcd: 32 bytes in base64.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) encryption_key: Option<Secret>,
}

/// A certificate authority.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "CertificateAuthority")]
pub(crate) struct CaSection {
    /// The certificate, PEM.
    pub(crate) certificate: String,
    /// Its private key, PEM (PKCS#8). Required on a control plane machine, refused on a worker.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) key: Option<Secret>,
}

/// The key pair that signs service account tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ServiceAccount")]
pub(crate) struct ServiceAccountSection {
    /// The private key, PEM. Required on a control plane machine, refused on a worker.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) key: Option<Secret>,
    /// The public key, PEM.
    pub(crate) public: String,
}

fn embedded() -> String {
    "embedded".to_owned()
}
