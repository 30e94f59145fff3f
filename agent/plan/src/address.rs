//! Which of a machine's addresses is the node's.

use std::net::IpAddr;

use machine_config::MachineConfig;

/// `machine.kubelet.nodeIP` if the machine has it; else the first address in
/// `machine.nodeAddress.subnets`, in the subnets' order; without subnets the
/// first address of the pod network's family. `None`: not there (yet).
#[must_use]
pub fn choose_node_ip(config: &MachineConfig, addresses: &[IpAddr]) -> Option<IpAddr> {
    if let Some(fixed) = config.kubelet().node_ip {
        return addresses.contains(&fixed).then_some(fixed);
    }
    let subnets = config.node_ip_subnets();
    if subnets.is_empty() {
        let v4 = config
            .pod_subnets()
            .first()
            .is_none_or(|net| net.addr().is_ipv4());
        return addresses.iter().copied().find(|ip| ip.is_ipv4() == v4);
    }
    let within = |net: &machine_config::Cidr| addresses.iter().copied().find(|ip| net.contains(ip));
    subnets.iter().find_map(within)
}
