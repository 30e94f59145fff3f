//! The valid form of a config. Whoever holds a [`MachineConfig`] needs to check nothing again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::types::{
    Cidr, Component, ComponentSource, Containerd, Endpoint, EtcdRunAs, Hostname, Kubelet,
    KubernetesVersion, Network, NetworkAddon, Role, San, VirtualIp,
};

/// Everything one machine should be. Built only by [`crate::read`].
#[derive(Debug, Clone, PartialEq)]
pub struct MachineConfig {
    pub(crate) role: Role,
    pub(crate) hostname: Hostname,
    pub(crate) network: Network,
    pub(crate) node_ip_subnets: Vec<Cidr>,
    pub(crate) kubelet: Kubelet,
    pub(crate) containerd: Containerd,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) kernel_modules: Vec<String>,
    pub(crate) cert_sans: Vec<San>,
    pub(crate) cluster_name: String,
    pub(crate) cluster_id: String,
    pub(crate) control_plane_endpoint: Endpoint,
    pub(crate) control_planes: Vec<IpAddr>,
    pub(crate) virtual_ip: Option<VirtualIp>,
    pub(crate) node_load_balancer: bool,
    pub(crate) start_timeout: Duration,
    pub(crate) kubernetes_version: KubernetesVersion,
    pub(crate) pod_subnets: Vec<IpNet>,
    pub(crate) service_subnets: Vec<IpNet>,
    pub(crate) dns_domain: String,
    pub(crate) api_server: Component,
    pub(crate) controller_manager: Component,
    pub(crate) scheduler: Component,
    pub(crate) etcd: Component,
    pub(crate) etcd_run_as: EtcdRunAs,
    pub(crate) external_etcd: Option<Vec<Endpoint>>,
    pub(crate) etcd_members: Option<Vec<IpAddr>>,
    pub(crate) network_addon: NetworkAddon,
    pub(crate) extra_manifests: Vec<String>,
    pub(crate) component_source: ComponentSource,
    pub(crate) allow_scheduling_on_control_planes: bool,
}

impl MachineConfig {
    /// What the machine is for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The machine's name, which is its node name.
    #[must_use]
    pub fn hostname(&self) -> &Hostname {
        &self.hostname
    }

    /// Interfaces, DNS and time servers.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Which local addresses may be the node's; empty means that of the default route.
    #[must_use]
    pub fn node_ip_subnets(&self) -> &[Cidr] {
        &self.node_ip_subnets
    }

    /// Whether an address passes the subnet filter; every address does when there is none.
    #[must_use]
    pub fn node_ip_allowed(&self, address: IpAddr) -> bool {
        self.node_ip_subnets.is_empty()
            || self
                .node_ip_subnets
                .iter()
                .any(|subnet| subnet.contains(&address))
    }

    /// What the kubelet gets beyond its defaults.
    #[must_use]
    pub fn kubelet(&self) -> &Kubelet {
        &self.kubelet
    }

    /// What containerd gets beyond its defaults.
    #[must_use]
    pub fn containerd(&self) -> &Containerd {
        &self.containerd
    }

    /// Kernel parameters by dotted name.
    #[must_use]
    pub fn sysctls(&self) -> &BTreeMap<String, String> {
        &self.sysctls
    }

    /// Kernel modules to load.
    #[must_use]
    pub fn kernel_modules(&self) -> &[String] {
        &self.kernel_modules
    }

    /// Further names of the machine API's certificate.
    #[must_use]
    pub fn cert_sans(&self) -> &[San] {
        &self.cert_sans
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster_name(&self) -> &str {
        &self.cluster_name
    }

    /// What tells the cluster from any other.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Where everyone reaches the Kubernetes API.
    #[must_use]
    pub fn control_plane_endpoint(&self) -> &Endpoint {
        &self.control_plane_endpoint
    }

    /// The address that control planes hold by turns.
    #[must_use]
    pub fn virtual_ip(&self) -> Option<&VirtualIp> {
        self.virtual_ip.as_ref()
    }

    /// Whether this node has a load balancer before the API servers.
    #[must_use]
    pub fn node_load_balancer(&self) -> bool {
        self.node_load_balancer
    }

    /// How long a control plane's pod may take to start.
    #[must_use]
    pub fn start_timeout(&self) -> Duration {
        self.start_timeout
    }

    /// The Kubernetes version to run.
    #[must_use]
    pub fn kubernetes_version(&self) -> &KubernetesVersion {
        &self.kubernetes_version
    }

    /// One pod range, or two of different families, the preferred first.
    #[must_use]
    pub fn pod_subnets(&self) -> &[IpNet] {
        &self.pod_subnets
    }

    /// One service range, or two of different families, the preferred first.
    #[must_use]
    pub fn service_subnets(&self) -> &[IpNet] {
        &self.service_subnets
    }

    /// The domain of services and pods.
    #[must_use]
    pub fn dns_domain(&self) -> &str {
        &self.dns_domain
    }

    /// What kube-apiserver gets beyond its defaults.
    #[must_use]
    pub fn api_server(&self) -> &Component {
        &self.api_server
    }

    /// What kube-controller-manager gets beyond its defaults.
    #[must_use]
    pub fn controller_manager(&self) -> &Component {
        &self.controller_manager
    }

    /// What kube-scheduler gets beyond its defaults.
    #[must_use]
    pub fn scheduler(&self) -> &Component {
        &self.scheduler
    }

    /// What etcd gets beyond its defaults.
    #[must_use]
    pub fn etcd(&self) -> &Component {
        &self.etcd
    }

    /// As what the cluster's members of etcd run.
    #[must_use]
    pub fn etcd_run_as(&self) -> EtcdRunAs {
        self.etcd_run_as
    }

    /// Where the members of an etcd outside the cluster serve clients; none where control planes have
    /// members of their own.
    #[must_use]
    pub fn external_etcd(&self) -> Option<&[Endpoint]> {
        self.external_etcd.as_deref()
    }

    /// Where control planes may be that have members of etcd, as far as it was known beforehand.
    #[must_use]
    pub fn control_planes(&self) -> &[IpAddr] {
        &self.control_planes
    }

    /// Where the machines of role `etcd` are; none where the cluster has no such machines.
    #[must_use]
    pub fn etcd_members(&self) -> Option<&[IpAddr]> {
        self.etcd_members.as_deref()
    }

    /// Whether a member of etcd belongs on this machine.
    #[must_use]
    pub fn has_etcd_member(&self) -> bool {
        match self.role {
            Role::ControlPlane => self.external_etcd.is_none() && self.etcd_members.is_none(),
            Role::Etcd => true,
            Role::Worker => false,
        }
    }

    /// Whether this is a control plane whose etcd is on other machines, whoever looks after those.
    #[must_use]
    pub fn etcd_is_elsewhere(&self) -> bool {
        self.role.is_control_plane() && !self.has_etcd_member()
    }

    /// How pods reach each other.
    #[must_use]
    pub fn network_addon(&self) -> &NetworkAddon {
        &self.network_addon
    }

    /// Manifests applied once the cluster is up.
    #[must_use]
    pub fn extra_manifests(&self) -> &[String] {
        &self.extra_manifests
    }

    /// Where the control plane's programs come from.
    #[must_use]
    pub fn component_source(&self) -> &ComponentSource {
        &self.component_source
    }

    /// Whether pods may be scheduled on control plane machines.
    #[must_use]
    pub fn allow_scheduling_on_control_planes(&self) -> bool {
        self.allow_scheduling_on_control_planes
    }
}
