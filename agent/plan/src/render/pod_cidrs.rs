//! The pod subnets of a cluster's first node.

use ipnet::IpNet;
use machine_config::MachineConfig;

/// How long a node's subnet is, where the controller manager is not told otherwise
/// (`--node-cidr-mask-size-ipv4` and `-ipv6`): since dual stack, 24 and 64.
const IPV4_LENGTH: u8 = 24;
const IPV6_LENGTH: u8 = 64;

/// With any of these the controller manager chooses in its own way, or not at all.
const OVERRIDES: [&str; 7] = [
    "allocate-node-cidrs",
    "cidr-allocator-type",
    "cloud-provider",
    "cluster-cidr",
    "controllers",
    "node-cidr-mask-size",
    "service-cluster-ip-range",
];

/// What the controller manager's allocator gives the first node that it sees: of each family's
/// range the lowest subnet. It takes one that a node has already for occupied, so a node may
/// be given it beforehand. `None` where it would choose otherwise.
#[must_use]
pub fn first_pod_cidrs(config: &MachineConfig) -> Option<Vec<IpNet>> {
    let told = |name: &str| OVERRIDES.iter().any(|word| name.starts_with(word));
    let wish = config.controller_manager();
    if config.pod_subnets().is_empty() || wish.extra_args.iter().any(|arg| told(&arg.name)) {
        return None;
    }
    let first = |range: &IpNet| {
        let length = if range.addr().is_ipv4() {
            IPV4_LENGTH
        } else {
            IPV6_LENGTH
        };
        let subnet = IpNet::new(range.network(), length).ok()?;
        // It leaves out what services have.
        let taken = |services: &IpNet| services.contains(&subnet) || subnet.contains(services);
        let free = !config.service_subnets().iter().any(taken);
        (range.prefix_len() <= length && free).then_some(subnet)
    };
    config.pod_subnets().iter().map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "apiVersion: machined/v1\nkind: MachineConfig\n\
        machine: {role: controlplane, hostname: n1}\n\
        cluster:\n  name: demo\n  id: 0123456789abcdef\n  controlPlaneEndpoint: api.demo.example\n  \
        kubernetesVersion: v1.30.0\n";

    fn first(cluster: &str) -> Option<Vec<String>> {
        let text = format!("{DOCUMENT}  {cluster}\n");
        let config = machine_config::read(text.as_bytes()).unwrap().config;
        let cidrs = first_pod_cidrs(&config)?;
        Some(cidrs.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_lowest_subnet_of_each_family_is_the_first() {
        for (cluster, expected) in [
            ("networking: {}", Some(vec!["10.244.0.0/24"])),
            (
                "networking: {podSubnet: 10.32.7.0/24}",
                Some(vec!["10.32.7.0/24"]),
            ),
            (
                "networking: {podSubnet: \"fd00:1::/56,10.1.0.0/16\", serviceSubnet: \"fd00:2::/112,10.96.0.0/16\"}",
                Some(vec!["fd00:1::/64", "10.1.0.0/24"]),
            ),
            (
                "controllerManager: {extraArgs: [{name: node-cidr-mask-size-ipv4, value: \"26\"}]}",
                None,
            ),
        ] {
            let expected = expected.map(|e| e.into_iter().map(str::to_owned).collect());
            assert_eq!(first(cluster), expected, "{cluster}");
        }
    }
}
