//! The table of every leaf a node holds.
//!
//! Keys of leaves are made on the node and never leave it, so a leaf here is what to ask for and
//! where to put it. A worker asks for none: it has no authority's key, and its kubelet gets its
//! certificate from the cluster.

use std::collections::BTreeSet;
use std::net::IpAddr;

use machine_config::{KubernetesVersion, MACHINE_GROUP, MachineConfig, Role, San};
use machine_pki::leaf::Lifetime;
use machine_pki::{AuthorityKind, LeafRequest, Usage};
use serde::Serialize;

use super::organizations as groups;
use super::{API_PORT, KUBERNETES, PKI, api_url, gates};
use crate::facts::HostFacts;

/// The leaf that the API server serves with.
pub const API_SERVER: &str = "apiserver";
/// As what an API server is known to etcd.
const API_SERVERS_CLIENT: &str = "apiserver-etcd-client";

/// A certificate that this node makes, signs and keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leaf {
    /// Its name among the node's leaves: the file's below its directory, without ending.
    pub name: &'static str,
    /// Who signs it.
    pub authority: AuthorityKind,
    /// What it says.
    pub request: LeafRequest,
    /// Where it goes.
    pub place: Place,
}

/// Where a leaf goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Two PEM files.
    Pair {
        /// The certificate's path.
        certificate: String,
        /// The key's path.
        key: String,
    },
    /// Both inside a kubeconfig.
    Kubeconfig {
        /// The file's path.
        path: String,
        /// The API server it points at.
        server: String,
        /// The user's name in it.
        user: String,
        /// The cluster's name in it.
        cluster: String,
    },
}

impl Leaf {
    /// Where its kubeconfig points, if it is in one.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        match &self.place {
            Place::Pair { .. } => None,
            Place::Kubeconfig { server, .. } => Some(server),
        }
    }
}

/// Every leaf of this node that an authority on it signs; none on a worker.
///
/// The machine API's own leaf is not among them: see [`machine_api_leaf`].
#[must_use]
pub fn leaves(config: &MachineConfig, facts: &HostFacts) -> Vec<Leaf> {
    let mut leaves = match config.role() {
        Role::Worker => Vec::new(),
        Role::ControlPlane | Role::Etcd => pairs(config, facts),
    };
    if config.role().is_control_plane() {
        leaves.extend(kubeconfigs(config, facts));
    }
    leaves
}

/// The kubeconfig on a control plane that may do everything from the first moment. From 1.29 on
/// that is not `admin.conf`: its group must first be bound, by someone who may.
#[must_use]
pub fn cluster_admin_kubeconfig(version: KubernetesVersion) -> String {
    let name = if gates::CLUSTER_ADMINS_GROUP.holds(version) {
        "super-admin"
    } else {
        "admin"
    };
    format!("{KUBERNETES}/{name}.conf")
}

/// The leaf of the machine API, for every role. The agent holds it in memory. A control plane also
/// answers to the cluster's endpoint, where workers ask for certificates.
#[must_use]
pub fn machine_api_leaf(config: &MachineConfig, addresses: &[IpAddr]) -> LeafRequest {
    let mut names = Names::new([config.hostname().as_str()], addresses);
    names.add_loopback();
    names.add(config.cert_sans());
    if config.role().is_control_plane() {
        names.add_endpoint(config);
        names
            .ips
            .extend(config.virtual_ip().map(|wish| wish.address));
    }
    let groups = vec![MACHINE_GROUP.to_owned()];
    let request = names.into_request(config.hostname().as_str(), groups, Usage::Both);
    LeafRequest {
        lifetime: Lifetime::MACHINE_API,
        ..request
    }
}

/// What the kubelet of a node proves itself by: the node authorizer knows it by name and group.
#[must_use]
pub fn kubelet_leaf(node: &str, version: KubernetesVersion) -> LeafRequest {
    client(&node_user(node), groups::NODES, version)
}

fn node_user(node: &str) -> String {
    format!("system:node:{node}")
}

fn pairs(config: &MachineConfig, facts: &HostFacts) -> Vec<Leaf> {
    use AuthorityKind::{Etcd, FrontProxy, Kubernetes};
    let version = *config.kubernetes_version();
    let node = config.hostname().as_str();
    let client = |common_name: &str, groups| client(common_name, groups, version);
    let etcd = |extra: &[San]| {
        let mut names = Names::new([node, "localhost"], &facts.addresses);
        names.ips.insert(facts.node_ip);
        names.add_loopback();
        names.add(extra);
        // A member dials its peers with what it also serves with, so both usages in both.
        names.into_request(node, Vec::new(), Usage::Both)
    };
    [
        (API_SERVER, Kubernetes, api_server(config, facts)),
        (
            "apiserver-kubelet-client",
            Kubernetes,
            client("kube-apiserver-kubelet-client", groups::KUBELET_CLIENT),
        ),
        (
            "front-proxy-client",
            FrontProxy,
            client("front-proxy-client", groups::NOBODY),
        ),
        ("etcd/server", Etcd, etcd(&config.etcd().server_cert_sans)),
        ("etcd/peer", Etcd, etcd(&config.etcd().peer_cert_sans)),
        (
            "etcd/healthcheck-client",
            Etcd,
            client("kube-etcd-healthcheck-client", groups::ETCD_CLIENT),
        ),
        (
            API_SERVERS_CLIENT,
            Etcd,
            client("kube-apiserver-etcd-client", groups::ETCD_CLIENT),
        ),
    ]
    .into_iter()
    .filter(|(name, authority, _)| match (config.role(), *authority) {
        (Role::Etcd, _) => name.starts_with("etcd/"),
        // Whoever runs an external etcd has given what it takes to be its client.
        (_, Etcd) if config.external_etcd().is_some() => false,
        (_, Etcd) => config.has_etcd_member() || *name == API_SERVERS_CLIENT,
        _ => true,
    })
    .map(|(name, authority, request)| {
        let place = Place::Pair {
            certificate: format!("{PKI}/{name}.crt"),
            key: format!("{PKI}/{name}.key"),
        };
        Leaf {
            name,
            authority,
            request,
            place,
        }
    })
    .collect()
}

fn api_server(config: &MachineConfig, facts: &HostFacts) -> LeafRequest {
    let domain = format!("kubernetes.default.svc.{}", config.dns_domain());
    let service = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        domain.as_str(),
    ];
    let mut names = Names::new(service, &facts.addresses);
    names.dns.insert(config.hostname().to_string());
    names.ips.insert(facts.node_ip);
    names
        .ips
        .extend(config.service_subnets().first().and_then(first_address));
    names.add_endpoint(config);
    if config.node_load_balancer() {
        names.add_loopback();
    }
    names
        .ips
        .extend(config.virtual_ip().map(|wish| wish.address));
    names.add(&config.api_server().cert_sans);
    names.into_request("kube-apiserver", Vec::new(), Usage::Server)
}

/// Whether a control plane's kubelet asks the API server beside it and no other. With a load balancer it goes
/// through that also while the API server beside it is not ready.
#[must_use]
pub fn kubelet_keeps_to_its_own(config: &MachineConfig) -> bool {
    gates::KUBELET_LOCAL_API_SERVER.holds(*config.kubernetes_version())
        && !config.node_load_balancer()
}

fn kubeconfigs(config: &MachineConfig, facts: &HostFacts) -> Vec<Leaf> {
    let version = *config.kubernetes_version();
    let everyone = config.control_plane_endpoint().url();
    // Controller manager and scheduler keep to the API server of their own version, beside them.
    let port = API_PORT;
    let local = format!("https://{}", std::net::SocketAddr::new(facts.node_ip, port));
    let kubelet_server = match kubelet_keeps_to_its_own(config) {
        true => local.clone(),
        false => api_url(config),
    };
    let node = node_user(config.hostname().as_str());
    let mut table = vec![
        ("admin.conf", "kubernetes-admin", groups::ADMIN, &everyone),
        (
            "kubelet.conf",
            node.as_str(),
            groups::NODES,
            &kubelet_server,
        ),
        (
            "controller-manager.conf",
            "system:kube-controller-manager",
            groups::NOBODY,
            &local,
        ),
        (
            "scheduler.conf",
            "system:kube-scheduler",
            groups::NOBODY,
            &local,
        ),
    ];
    // kubeadm writes this on the first node only. Here no node is special, and each holds the
    // authority's key anyway, which is worth more.
    if gates::CLUSTER_ADMINS_GROUP.holds(version) {
        let user = "kubernetes-super-admin";
        table.insert(
            1,
            ("super-admin.conf", user, groups::SUPER_ADMIN, &everyone),
        );
    }
    table
        .into_iter()
        .map(|(name, user, groups, server)| Leaf {
            name,
            authority: AuthorityKind::Kubernetes,
            request: client(user, groups, version),
            place: Place::Kubeconfig {
                path: format!("{KUBERNETES}/{name}"),
                server: server.clone(),
                user: user.to_owned(),
                cluster: config.cluster_name().to_owned(),
            },
        })
        .collect()
}

fn client(
    common_name: &str,
    table: &[(u16, u16, Option<&'static str>)],
    version: KubernetesVersion,
) -> LeafRequest {
    Names::default().into_request(common_name, groups::of(table, version), Usage::Client)
}

/// The address of the service `kubernetes`: the first of its range.
fn first_address(range: &machine_config::IpNet) -> Option<IpAddr> {
    let address = match range.network() {
        IpAddr::V4(base) => std::net::Ipv4Addr::from(u32::from(base).checked_add(1)?).into(),
        IpAddr::V6(base) => std::net::Ipv6Addr::from(u128::from(base).checked_add(1)?).into(),
    };
    range.contains(&address).then_some(address)
}

/// Subject alternative names while they are put together.
#[derive(Default)]
struct Names {
    dns: BTreeSet<String>,
    ips: BTreeSet<IpAddr>,
}

impl Names {
    fn new<'a>(dns: impl IntoIterator<Item = &'a str>, ips: &[IpAddr]) -> Self {
        let dns = dns.into_iter().map(str::to_owned).collect();
        Self {
            dns,
            ips: ips.iter().copied().collect(),
        }
    }

    fn add(&mut self, sans: &[San]) {
        for san in sans {
            match san {
                San::Dns(name) => drop(self.dns.insert(name.clone())),
                San::Ip(ip) => drop(self.ips.insert(*ip)),
            }
        }
    }

    fn add_endpoint(&mut self, config: &MachineConfig) {
        let endpoint = config.control_plane_endpoint();
        match endpoint.ip() {
            Some(ip) => self.ips.insert(ip),
            None => self.dns.insert(endpoint.host().to_owned()),
        };
    }

    fn add_loopback(&mut self) {
        self.ips.insert(std::net::Ipv4Addr::LOCALHOST.into());
        self.ips.insert(std::net::Ipv6Addr::LOCALHOST.into());
    }

    fn into_request(
        self,
        common_name: &str,
        organizations: Vec<String>,
        usage: Usage,
    ) -> LeafRequest {
        LeafRequest {
            common_name: common_name.to_owned(),
            organizations,
            usage,
            dns: self.dns,
            ips: self.ips,
            lifetime: Lifetime::LEAF,
        }
    }
}

#[cfg(test)]
#[path = "leaves_tests.rs"]
mod tests;
