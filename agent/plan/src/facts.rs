//! What rendering must know of the machine beyond its config.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Facts of the machine that its config does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The node's own address: what etcd and the API server advertise, and the kubelet's node IP.
    pub node_ip: IpAddr,
    /// The network interface that has it.
    #[serde(default)]
    pub interface: Option<String>,
    /// Every address of the machine that other machines can use.
    pub addresses: Vec<IpAddr>,
    /// The subnets that [`HostFacts::interface`] is in.
    #[serde(default)]
    pub subnets: Vec<IpNet>,
    /// The own addresses of all control planes that this machine has heard of, also in an earlier boot.
    #[serde(default)]
    pub control_planes: Vec<IpAddr>,
    /// systemd-resolved runs, so `/etc/resolv.conf` names its stub on loopback, which is of no use
    /// inside a pod.
    pub resolv_conf_stub: bool,
}

impl HostFacts {
    /// Of a machine with one address, of which nothing else is known.
    #[must_use]
    pub fn at(node_ip: IpAddr) -> Self {
        Self {
            node_ip,
            interface: None,
            addresses: vec![node_ip],
            subnets: Vec::new(),
            control_planes: Vec::new(),
            resolv_conf_stub: true,
        }
    }
}
