//! What the host says of itself: names and addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use machine_config::MachineConfig;
use machine_plan::address::choose_node_ip;
use machine_plan::facts::HostFacts;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::NodeError;

/// The kernel's hostname; empty if it is not text.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default()
}

/// Sets the kernel's hostname.
pub fn set_hostname(name: &str) -> Result<(), NodeError> {
    nix::unistd::sethostname(name).map_err(|e| NodeError::File {
        operation: "set the hostname to",
        path: name.to_owned(),
        source: e.into(),
    })
}

/// Addresses of links that are up, loopback and link-local ones left out, and the one that control
/// planes hold by turns; the node's own among them, or the unspecified address while there is none.
pub fn look(config: &MachineConfig) -> HostFacts {
    let borrowed = config.virtual_ip().map(|wish| wish.address);
    let all = interfaces().filter(|(_, net)| Some(net.addr()) != borrowed);
    let all: Vec<(String, IpNet)> = all.collect();
    let addresses: Vec<IpAddr> = all.iter().map(|(_, net)| net.addr()).collect();
    let node_ip = choose_node_ip(config, &addresses).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let has_it = all.iter().find(|(_, net)| net.addr() == node_ip);
    let interface = has_it.map(|(name, _)| name.clone());
    let beside = all
        .iter()
        .filter(|(name, _)| Some(name) == interface.as_ref());
    let subnets: BTreeSet<IpNet> = beside.map(|(_, net)| net.trunc()).collect();
    HostFacts {
        node_ip,
        interface,
        addresses,
        subnets: subnets.into_iter().collect(),
        control_planes: Vec::new(),
        resolv_conf_stub: true,
    }
}

/// As in [`look`], in the kernel's order, bridges of the pod network left out.
pub fn addresses() -> Vec<IpAddr> {
    interfaces().map(|(_, net)| net.addr()).collect()
}

fn interfaces() -> impl Iterator<Item = (String, IpNet)> {
    let all = getifaddrs().into_iter().flatten();
    all.filter(|a| {
        a.flags.contains(InterfaceFlags::IFF_UP) && !a.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    })
    .filter(|a| !a.interface_name.starts_with("cni") && !a.interface_name.starts_with("veth"))
    .filter_map(|a| {
        let ip = |address: SockaddrStorage| {
            let v4 = address.as_sockaddr_in().map(|s| IpAddr::V4(s.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|s| IpAddr::V6(s.ip())))
        };
        let address = ip(a.address?)?;
        let mask = a.netmask.and_then(ip);
        // One without a mask is alone.
        let net = mask.and_then(|mask| IpNet::with_netmask(address, mask).ok());
        Some((a.interface_name, net.unwrap_or_else(|| address.into())))
    })
    .filter(|(_, net)| match net.addr() {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    })
}
