//! Which of a machine's addresses is the node's.

use std::net::IpAddr;

use machine_config::MachineConfig;

use crate::facts::HostFacts;

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

/// The node's address of the family that its first one is not of, for dual stack: chosen as the first is,
/// and rather on the same link, so that both lead the same way.
#[must_use]
pub fn choose_second_ip(config: &MachineConfig, facts: &HostFacts) -> Option<IpAddr> {
    let other = |ip: &IpAddr| ip.is_ipv4() != facts.node_ip.is_ipv4();
    let all = || facts.addresses.iter().copied();
    let usable = || all().filter(|ip| other(ip) && !is_link_local(*ip));
    let within = |net: &machine_config::Cidr| usable().find(|ip| net.contains(ip));
    let told = config.node_ip_subnets().iter();
    let mut told = told.filter(|net| other(&net.addr())).peekable();
    if told.peek().is_some() {
        return told.find_map(within);
    }
    let beside = facts.subnets.iter().find_map(within);
    beside.or_else(|| usable().next())
}

/// Link-local addresses need a zone, which neither the kubelet nor a peer can carry.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(machine: &str) -> Option<String> {
        let text = format!(
            "apiVersion: machined/v1\nkind: MachineConfig\n\
             machine:\n  role: worker\n  hostname: n1\n{machine}\
             cluster:\n  name: demo\n  id: 0123456789abcdef\n  \
             controlPlaneEndpoint: api.demo.example\n  kubernetesVersion: v1.33.0\n"
        );
        let config = machine_config::read(text.as_bytes()).unwrap().config;
        let addresses = ["fe80::1", "2001:db8::1", "10.0.0.1", "fd00::1", "10.0.0.2"];
        let facts = HostFacts {
            addresses: addresses.map(|ip| ip.parse().unwrap()).into(),
            subnets: ["10.0.0.0/24", "fd00::/64"]
                .map(|net| net.parse().unwrap())
                .into(),
            ..HostFacts::at("10.0.0.1".parse().unwrap())
        };
        choose_second_ip(&config, &facts).map(|ip| ip.to_string())
    }

    #[test]
    fn the_second_address_is_on_the_same_link_or_where_the_document_says() {
        assert_eq!(second("").as_deref(), Some("fd00::1"));
        let told = |nets| second(&format!("  nodeAddress: {{subnets: [{nets}]}}\n"));
        assert_eq!(told("10.0.0.0/24").as_deref(), Some("fd00::1"));
        let both = told("10.0.0.0/24, \"2001:db8::/64\"");
        assert_eq!(both.as_deref(), Some("2001:db8::1"));
        // Not there (yet): none is better than one that others may not reach.
        assert_eq!(told("10.0.0.0/24, \"fd77::/64\""), None);
    }
}
