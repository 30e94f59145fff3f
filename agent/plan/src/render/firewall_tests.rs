//! The rules as text; what they do is tried on nftables itself, with the agent.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn config(role: &str, machine: &str, cluster: &str) -> MachineConfig {
    let text = format!(
        "apiVersion: machined/v1\nkind: MachineConfig\nmachine:\n  role: {role}\n  hostname: n1\n{machine}\
         cluster:\n  name: demo\n  id: 0123456789abcdef\n  controlPlaneEndpoint: api.demo.example\n  \
         kubernetesVersion: v1.33.0\n{cluster}"
    );
    let read = machine_config::read(text.as_bytes());
    read.unwrap_or_else(|problems| panic!("{problems}\n{text}"))
        .config
}

fn facts(subnets: &[&str], control_planes: &[&str]) -> HostFacts {
    let node_ip: IpAddr = "10.0.2.15".parse().unwrap();
    HostFacts {
        subnets: subnets.iter().map(|net| net.parse().unwrap()).collect(),
        control_planes: control_planes
            .iter()
            .map(|ip| ip.parse().unwrap())
            .collect(),
        ..HostFacts::at(node_ip)
    }
}

fn rules(config: &MachineConfig, facts: &HostFacts) -> String {
    firewall(config, facts).content.expose().to_owned()
}

fn nodes(machine: &str, facts: &HostFacts) -> String {
    let nets = node_subnets(&config("worker", machine, ""), facts);
    join(nets)
}

#[test]
fn nodes_are_where_the_document_the_card_and_the_cluster_say() {
    let own = facts(
        &["10.0.2.15/24", "fd00:2::15/64"],
        &["10.0.2.16", "10.9.0.1"],
    );
    assert_eq!(nodes("", &own), "10.0.2.0/24,10.9.0.1/32,fd00:2::/64");
    let told = "  nodeAddress: {subnets: [10.0.0.0/16, 10.1.0.0/16]}\n";
    assert_eq!(nodes(told, &own), "10.0.0.0/15,10.9.0.1/32,fd00:2::/64");
    // Whoever may be anywhere is not known by where they are.
    let anywhere = "  nodeAddress: {subnets: [0.0.0.0/0]}\n";
    assert_eq!(nodes(anywhere, &facts(&[], &[])), "");
}

#[test]
fn a_machine_of_role_etcd_lets_in_members_and_machines_and_nobody_to_kubernetes() {
    let cluster = "  etcd: {members: [10.0.2.15, 10.9.0.22]}\n";
    let rules = rules(&config("etcd", "", cluster), &facts(&["10.0.2.15/24"], &[]));
    assert!(rules.contains("{ 10.0.2.0/24, 10.9.0.22/32 }"), "{rules}");
    assert!(
        rules.contains("ip saddr @nodes4 tcp dport 2379-2380 accept"),
        "{rules}"
    );
    assert!(rules.contains("tcp dport 50000 accept"), "{rules}");
    for of_kubernetes in ["6443", "10250", "th dport", "pods", "masquerade", "4789"] {
        assert!(!rules.contains(of_kubernetes), "{of_kubernetes} in {rules}");
    }
    // Where members are is nothing to whoever has none.
    let worker = config("worker", "", cluster);
    assert_eq!(join(node_subnets(&worker, &facts(&[], &[]))), "");
}

#[test]
fn without_a_node_in_sight_etcd_is_nobodys() {
    let rules = rules(&config("controlplane", "", ""), &facts(&[], &[]));
    assert!(!rules.contains("@nodes"), "{rules}");
    assert!(rules.contains("tcp dport 2379-2380 drop"), "{rules}");
}

#[test]
fn a_range_of_ports_is_read_as_the_api_server_does() {
    for (text, expected) in [
        ("30000-32767", Some(30_000..=32_767)),
        ("30000+100", Some(30_000..=30_100)),
        ("65000+1000", Some(65_000..=65_535)),
        ("8080", Some(8080..=8080)),
        ("0-0", None),
        ("9-8", None),
        ("all", None),
    ] {
        assert_eq!(port_range(text), expected, "{text}");
    }
    let told = "  apiServer: {extraArgs: [{name: service-node-port-range, value: 80-90}]}\n";
    let rules = rules(&config("worker", "", told), &facts(&[], &[]));
    assert!(rules.contains("th dport 80-90 accept"), "{rules}");
}

#[test]
fn turned_off_it_only_leaves_pods_their_way_out() {
    let off = "  network: {firewall: {enabled: false}}\n";
    let here = facts(&["10.0.2.15/24"], &[]);
    let rules_of = |cluster: &str| rules(&config("controlplane", off, cluster), &here);
    let bridge = rules_of("");
    assert!(
        !bridge.contains("input") && bridge.contains("masquerade"),
        "{bridge}"
    );
    let none = rules_of("  networkAddon: {type: none}\n");
    assert!(none.ends_with("delete table inet machined\n"), "{none}");
}

#[test]
fn another_pod_network_is_let_through_between_nodes_and_sees_to_addresses_itself() {
    let here = facts(&["10.0.2.15/24"], &[]);
    let none = rules(
        &config("worker", "", "  networkAddon: {type: none}\n"),
        &here,
    );
    assert!(
        none.contains("ip saddr @nodes4 udp dport { 4789,"),
        "{none}"
    );
    assert!(!none.contains("masquerade"), "{none}");
    let bridge = rules(&config("worker", "", ""), &here);
    assert!(!bridge.contains("4789"), "{bridge}");
}

fn entry() -> impl Strategy<Value = (String, u16, u16, Vec<String>)> {
    let net = prop_oneof![
        (any::<[u8; 2]>(), 0_u8..=16)
            .prop_map(|([a, b], length)| (IpAddr::from([a, b, 0, 0]), length)),
        (any::<u16>(), 0_u8..=16)
            .prop_map(|(a, length)| (IpAddr::from([a, 0, 0, 0, 0, 0, 0, 0]), length)),
    ];
    let net = net.prop_map(|(ip, length)| IpNet::new(ip, length).unwrap().trunc().to_string());
    let protocol = prop_oneof!["tcp", "udp"];
    (protocol, 1_u16.., 0_u16..100, vec(net, 0..3))
}

proptest! {
    /// What a machine can always be reached by is admitted before anything can be refused, whatever a
    /// document says.
    #[test]
    fn the_machine_api_stays_reachable(
        entries in vec(entry(), 0..4),
        controlplane in any::<bool>(),
        virtual_ip in any::<bool>(),
        addon in prop_oneof!["bridge", "none"],
        range in prop_oneof!["30000-32767", "1-65535", "50000", "nonsense"],
        subnets in vec(prop_oneof!["10.0.0.0/8", "0.0.0.0/0", "fd00::/8"], 0..3),
    ) {
        let mut machine = String::from("  network:\n    firewall:\n      ingress:\n");
        for (index, (protocol, first, more, nets)) in entries.iter().enumerate() {
            let last = first.saturating_add(*more);
            let nets: Vec<_> = nets.iter().map(|net| format!("\"{net}\"")).collect();
            machine.push_str(&format!(
                "        - {{name: e{index}, protocol: {protocol}, ports: [{first}-{last}], subnets: [{}]}}\n",
                nets.join(", ")
            ));
        }
        if entries.is_empty() {
            machine = String::new();
        }
        let nets: Vec<_> = subnets.iter().map(|net| format!("\"{net}\"")).collect();
        machine.push_str(&format!("  nodeAddress: {{subnets: [{}]}}\n", nets.join(", ")));
        let mut cluster = format!("  networkAddon: {{type: {addon}}}\n  apiServer: \
            {{extraArgs: [{{name: service-node-port-range, value: \"{range}\"}}]}}\n");
        if virtual_ip {
            cluster.push_str("  virtualIP: {address: 10.0.2.100}\n");
        }
        let role = if controlplane { "controlplane" } else { "worker" };
        let text = format!("apiVersion: machined/v1\nkind: MachineConfig\nmachine:\n  role: {role}\n  \
            hostname: n1\n{machine}cluster:\n  name: demo\n  id: 0123456789abcdef\n  \
            controlPlaneEndpoint: api.demo.example\n  kubernetesVersion: v1.33.0\n{cluster}");
        // Entries that admit the same are refused with the document.
        if let Ok(bundle) = machine_config::read(text.as_bytes()) {
            let rules = rules(&bundle.config, &facts(&["10.0.2.15/24"], &["10.0.2.16"]));
            let said: Vec<&str> = rules.lines().map(str::trim).filter(|l| !l.starts_with('#')).collect();
            let chain = said.iter().position(|line| *line == "chain input {").unwrap();
            prop_assert_eq!(said[chain + 2], "tcp dport 50000 accept");
            let hooks = said.iter().filter(|line| line.starts_with("type filter")).count();
            prop_assert_eq!(hooks, 1, "{}", rules);
            prop_assert_eq!(rules.matches('{').count(), rules.matches('}').count());
            // A table that is not ours is never named.
            for line in said.iter().filter(|line| line.contains("table ")) {
                prop_assert!(line.contains("table inet machined"), "{}", line);
            }
        }
    }
}
