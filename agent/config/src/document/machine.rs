//! The part that is one machine's own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::types::{Role, TaintEffect, Transport};

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
    /// Who may reach what on this machine.
    #[serde(default)]
    pub(crate) firewall: FirewallSection,
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

/// Who may reach what on this machine. Always admitted are the machine API, what the machine's role
/// needs, what its pods send, and answers; nothing here takes any of it away.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Firewall")]
pub(crate) struct FirewallSection {
    /// Whether the machine refuses what is not admitted. With `false` everybody reaches whatever
    /// listens.
    pub(crate) enabled: bool,
    /// What is admitted beyond that, for example to pods that use the machine's own network.
    pub(crate) ingress: Vec<IngressSection>,
}

impl Default for FirewallSection {
    fn default() -> Self {
        Self {
            enabled: true,
            ingress: Vec::new(),
        }
    }
}

/// Ports that are admitted. No two entries may admit the same.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Ingress")]
pub(crate) struct IngressSection {
    /// What it is for: a lower-case RFC 1123 label that no other entry has.
    pub(crate) name: String,
    /// The transport protocol.
    #[serde(default)]
    pub(crate) protocol: Transport,
    /// Ports and ranges of ports of this machine, for example `9100` and `5000-5010`.
    pub(crate) ports: Vec<String>,
    /// Where from, in CIDR form. Without any: from everywhere.
    #[serde(default)]
    pub(crate) subnets: Vec<String>,
}

/// Which of the machine's addresses is the node's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "NodeAddress")]
pub(crate) struct NodeAddressSection {
    /// Subnets in CIDR form; the node's address is the first one inside any of them. Without any:
    /// the address of the default route. The firewall takes machines in these subnets, as those in
    /// the subnet of the node's own address, for nodes.
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
