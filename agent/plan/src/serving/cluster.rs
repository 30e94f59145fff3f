//! What a kubelet may not serve as, whatever its node says: a node says of itself where it is.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::shown;
use crate::desired::Desired;
use crate::observed::{KnownBy, NodeSeen, PeerSeen};
use crate::render::API_SERVER;

/// A node of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is a control plane, by a label that no kubelet may set.
    pub control_plane: bool,
    /// What it says of itself.
    pub known_by: &'a KnownBy,
}

/// Its nodes, and what is nobody's but its own.
#[derive(Debug)]
pub struct Cluster<'a> {
    nodes: Vec<Node<'a>>,
    desired: &'a Desired,
}

impl<'a> Cluster<'a> {
    /// As a control plane sees it: itself, and all others.
    pub fn new(desired: &'a Desired, own: Option<&'a NodeSeen>, peers: &'a [PeerSeen]) -> Self {
        let own = own.map(|own| Node {
            name: &desired.hostname,
            control_plane: true,
            known_by: &own.known_by,
        });
        let peers = peers.iter().map(|peer| Node {
            name: &peer.name,
            control_plane: peer.control_plane,
            known_by: &peer.known_by,
        });
        Self {
            nodes: own.into_iter().chain(peers).collect(),
            desired,
        }
    }

    pub(super) fn node(&self, name: &str) -> Option<&Node<'a>> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Another node that is known by the same. Nobody takes a node's own name from it, and no worker
    /// anything from a control plane, by saying that it is his.
    pub(super) fn rival(
        &self,
        node: &Node<'_>,
        own: bool,
        by: impl Fn(&Node<'_>) -> bool,
    ) -> Option<String> {
        let counts = |other: &&Node<'_>| other.control_plane || !(node.control_plane || own);
        let mut others = self.nodes.iter().filter(|other| other.name != node.name);
        let other = others.find(|other| counts(other) && by(other))?;
        Some(shown(other.name))
    }

    /// Whether clients of the API server, or of a service, believe who serves by this name.
    pub(super) fn keeps_name(&self, node: &Node<'_>, name: &str) -> bool {
        let below = |domain: &str| {
            let rest = name.strip_suffix(domain);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        // A control plane has the authority's key beside it: to it nothing can be refused.
        !node.control_plane
            && (below("localhost")
                || below("svc")
                || below(&format!("svc.{}", self.desired.dns_domain()).to_ascii_lowercase())
                || self.served().any(|leaf| {
                    let mut names = leaf.dns.iter();
                    names.any(|dns| dns.eq_ignore_ascii_case(name))
                }))
    }

    /// The same of an address.
    pub(super) fn keeps_address(&self, node: &Node<'_>, ip: IpAddr) -> bool {
        let nets = self.desired.service_subnets().iter();
        let mut nets = nets.chain(self.desired.pod_subnets());
        let nobodys = ip.is_loopback()
            || ip.is_unspecified()
            || ip.is_multicast()
            || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        !node.control_plane
            && (nobodys
                || nets.any(|net: &IpNet| net.contains(&ip))
                || self.served().any(|leaf| leaf.ips.contains(&ip)))
    }

    // What this machine's API server is known by: the endpoint, the virtual IP, its first service.
    fn served(&self) -> impl Iterator<Item = &machine_pki::LeafRequest> {
        let leaves = self.desired.leaves.iter();
        leaves
            .filter(|leaf| leaf.name == API_SERVER)
            .map(|leaf| &leaf.request)
    }
}
