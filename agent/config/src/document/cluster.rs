//! The part that all machines of a cluster share.

use schemars::JsonSchema;
use serde::Deserialize;

use super::ArgSection;
use crate::types::{EtcdRunAs, PathType};

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
    /// Addresses of control plane machines, as far as they are known beforehand. A control plane that joins
    /// asks there for the cluster's members of etcd before it asks at the endpoint, which nobody may
    /// answer at yet. The list may be incomplete or old: where nobody is any more is asked in vain. But an
    /// address that is another host's by now has to go, for the firewall counts them all among the cluster's
    /// machines.
    #[serde(default)]
    pub(crate) control_planes: Vec<String>,
    /// An address that one control plane machine holds at a time, one whose API server is ready.
    /// Without it the endpoint is a machine's own address, a name, or an outside load balancer.
    #[serde(rename = "virtualIP")]
    pub(crate) virtual_ip: Option<VirtualIpSection>,
    /// Whether every node has a load balancer before the API servers, on its loopback device, for kubelet
    /// and kube-proxy. Without it: where there is a virtual IP. Of use wherever there are several control
    /// planes; all machines of a cluster say the same.
    pub(crate) node_load_balancer: Option<bool>,
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

/// An address that moves between control plane machines, by VRRP. They must share a link.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "VirtualIP")]
pub(crate) struct VirtualIpSection {
    /// The address, of the family of the nodes' own: the host of `controlPlaneEndpoint`, or what that
    /// name leads to.
    pub(crate) address: String,
    /// VRRP's virtual router id, 1 to 255: no other group of the link may have it.
    #[serde(default = "router_id", rename = "routerID")]
    pub(crate) router_id: u32,
    /// Milliseconds between two advertisements of the holder, 10 to 40950 in steps of 10. After three
    /// that did not come another machine takes over.
    #[serde(default = "advert_interval")]
    pub(crate) advert_interval_milliseconds: u32,
}

fn router_id() -> u32 {
    51
}

fn advert_interval() -> u32 {
    100
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
    /// How long the control plane's pods and etcd may take to start before they are started again, as
    /// `4m0s`; 4 minutes without it, an hour at most. For machines slower than common.
    #[schemars(with = "Option<String>")]
    pub(crate) timeout_for_control_plane: Option<String>,
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
    /// As what a control plane's member runs; a pod without it. Never changes under a machine. A machine of
    /// role `etcd` has no pods: with `members` it is `unit`.
    pub(crate) run_as: Option<EtcdRunAs>,
    /// Command line arguments; they replace all defaults of the same name. Those the agent itself
    /// depends on (membership, addresses, certificates) are refused.
    pub(crate) extra_args: Vec<ArgSection>,
    /// Host paths mounted into the pod; a unit has none.
    pub(crate) extra_volumes: Vec<VolumeSection>,
    /// Further DNS names and IP addresses of etcd's server certificate.
    #[serde(rename = "serverCertSANs")]
    pub(crate) server_cert_sans: Vec<String>,
    /// Further DNS names and IP addresses of etcd's peer certificate.
    #[serde(rename = "peerCertSANs")]
    pub(crate) peer_cert_sans: Vec<String>,
    /// The addresses of the machines of role `etcd`, where the cluster's members run on machines of their
    /// own: that is where these find each other, and what API servers ask. No control plane has a member
    /// then. All machines of a cluster say the same, and whether there are any never changes.
    pub(crate) members: Vec<String>,
    /// An etcd that somebody else runs. No machine of the cluster has a member of its own then, and
    /// what members get beyond their defaults is refused.
    pub(crate) external: Option<ExternalEtcdSection>,
}

/// An etcd outside the cluster's machines. What the API servers prove themselves by to it is
/// `externalEtcd` of the `ClusterSecrets`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ExternalEtcd")]
pub(crate) struct ExternalEtcdSection {
    /// Where its members serve clients, each `https://host:port`.
    pub(crate) endpoints: Vec<String>,
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

fn embedded() -> String {
    "embedded".to_owned()
}
