//! The pod subnets of a cluster's first nodes.

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

/// What the controller manager's allocator would give the next node: of each family's range the lowest
/// subnet that nobody has. It takes what nodes have already for occupied when it begins, so a node may
/// be given it beforehand. `None` where it would choose otherwise, or nothing is left.
#[must_use]
pub fn next_pod_cidrs(config: &MachineConfig, taken: &[IpNet]) -> Option<Vec<IpNet>> {
    let told = |name: &str| OVERRIDES.iter().any(|word| name.starts_with(word));
    let wish = config.controller_manager();
    if config.pod_subnets().is_empty() || wish.extra_args.iter().any(|arg| told(&arg.name)) {
        return None;
    }
    let next = |range: &IpNet| {
        let length = if range.addr().is_ipv4() {
            IPV4_LENGTH
        } else {
            IPV6_LENGTH
        };
        // It leaves out what services have.
        let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
        let others = || config.service_subnets().iter().chain(taken);
        let free = |subnet: &IpNet| others().all(|other| !overlaps(other, subnet));
        range.subnets(length).ok()?.find(free)
    };
    config.pod_subnets().iter().map(next).collect()
}

/// How long a lease has to last under which subnets are given, in seconds; the controller manager's own
/// default.
const LASTS: u32 = 15;

/// Whether who leads as controller manager has the lease of its usual name, and leaves it to another for as
/// long as that one says.
#[must_use]
pub fn leads_by_lease(config: &MachineConfig) -> bool {
    config.controller_manager().extra_args.iter().all(|arg| {
        let long = |value: &str| {
            let seconds = value.strip_suffix('s').and_then(|n| n.parse().ok());
            seconds.is_some_and(|seconds: u32| seconds >= LASTS)
        };
        match arg.name.as_str() {
            "leader-elect" => arg.value == "true",
            "leader-elect-lease-duration" => long(&arg.value),
            name => !name.starts_with("leader-elect-resource-"),
        }
    })
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
        let cidrs = next_pod_cidrs(&config, &[])?;
        Some(cidrs.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_lease_counts_where_it_is_the_one_that_is_taken() {
        for (name, value, counts) in [
            ("v", "2", true),
            ("leader-elect", "false", false),
            ("leader-elect-lease-duration", "120s", true),
            ("leader-elect-lease-duration", "10s", false),
            ("leader-elect-lease-duration", "1m", false),
            ("leader-elect-retry-period", "1s", true),
            ("leader-elect-resource-name", "other", false),
        ] {
            let args = format!("[{{name: {name}, value: \"{value}\"}}]");
            let text = format!("{DOCUMENT}  controllerManager: {{extraArgs: {args}}}\n");
            let config = machine_config::read(text.as_bytes()).unwrap().config;
            assert_eq!(leads_by_lease(&config), counts, "{name} {value}");
        }
    }

    #[test]
    fn nobody_is_given_what_another_has() {
        let networking = "networking: {podSubnet: \"10.1.0.0/22,fd00:1::/62\", serviceSubnet: \"10.96.0.0/16,fd00:2::/112\"}";
        let config = machine_config::read(format!("{DOCUMENT}  {networking}\n").as_bytes());
        let config = config.unwrap().config;
        // One has a subnet of another length, of before.
        let mut taken = vec!["10.1.1.128/25".parse().unwrap()];
        let mut given = Vec::new();
        while let Some(next) = next_pod_cidrs(&config, &taken) {
            given.push(next.iter().map(ToString::to_string).collect::<Vec<_>>());
            taken.extend(next);
        }
        let expected = [
            ["10.1.0.0/24", "fd00:1::/64"],
            ["10.1.2.0/24", "fd00:1:0:1::/64"],
            ["10.1.3.0/24", "fd00:1:0:2::/64"],
        ];
        assert_eq!(given, expected);
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
