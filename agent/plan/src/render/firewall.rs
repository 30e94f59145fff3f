//! Whom the machine lets in, and which packets of pods leave with its own address: one nftables table,
//! and nothing of anybody else's.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use machine_config::{Ingress, MachineConfig, NetworkAddon};

use super::args::last;
use super::{API_PORT, join};
use crate::facts::HostFacts;
use crate::files::RenderedFile;

const RULES: &str = "/etc/nftables.d/machined.nft";

/// Where the machine API listens.
pub const MACHINE_API_PORT: u16 = 50_000;

/// Addresses that this machine is about to give up, put there by who gives them up: connections that exist go
/// on, and new ones wait for who has the address next.
pub const LEAVING_SET: &str = "leaving";

/// The API server's `--service-node-port-range`, where it is not told otherwise.
const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

/// What the common pod networks send from node to node: BGP, Cilium's health checks, Typha; Geneve, VXLAN
/// (also Flannel's and Cilium's port), WireGuard (Flannel's and Calico's, Cilium's); IP in IP and ESP.
const OVERLAYS: [&str; 3] = [
    "tcp dport { 179, 4240, 5473 }",
    "udp dport { 4789, 6081, 8472, 51820-51821, 51871 }",
    "meta l4proto { 4, 50 }",
];

/// The rules, as one transaction for `nft -f`: the table as it was is gone, and as it should be is there,
/// or nothing has changed.
#[must_use]
pub fn firewall(config: &MachineConfig, facts: &HostFacts) -> RenderedFile {
    // Deleting what is not there would fail: it is made first.
    let mut text = String::from(
        "# machined's own table, whole: no other table of this host is touched.\n\
         table inet machined\ndelete table inet machined\n",
    );
    let admits = config.network().firewall.enabled;
    let node = config.role().has_node();
    let bridge = node && *config.network_addon() == NetworkAddon::Bridge;
    if admits || bridge {
        text.push_str("\ntable inet machined {\n");
        let nodes = node_subnets(config, facts);
        if admits {
            set(&mut text, Source::Nodes, &nodes);
        }
        if node {
            set(&mut text, Source::Pods, config.pod_subnets());
        }
        if let Some(v4) = shares(config).filter(|_| admits) {
            leaving(&mut text, v4);
        }
        if admits {
            let chain = Chain {
                text,
                nodes: &nodes,
                pods: config.pod_subnets(),
            };
            text = chain.input(config);
        }
        if bridge {
            masquerade(&mut text, config.pod_subnets());
        }
        text.push_str("}\n");
    }
    RenderedFile::public(RULES, text)
}

/// Where other machines of the cluster are: the subnet of this one's own address, those that the
/// document gives nodes, and the control planes, wherever they are.
fn node_subnets(config: &MachineConfig, facts: &HostFacts) -> Vec<IpNet> {
    // A document that lets a node be anywhere does not say who is one.
    let told = config.node_ip_subnets().iter().copied();
    let told = told.filter(|net| net.prefix_len() > 0);
    let control_planes = facts.control_planes.iter().chain(config.control_planes());
    // Other members, wherever they are, where this machine has one.
    let members = config.etcd_members().filter(|_| config.has_etcd_member());
    let machines = control_planes.chain(members.into_iter().flatten());
    let machines = machines.map(|ip| IpNet::from(*ip));
    let all = facts.subnets.iter().copied().chain(told);
    let all: BTreeSet<IpNet> = all.chain(machines).map(|net| net.trunc()).collect();
    IpNet::aggregate(&all.into_iter().collect())
}

/// What the API server was told, in any of the forms that it reads.
fn node_ports(config: &MachineConfig) -> RangeInclusive<u16> {
    let told = last(&config.api_server().extra_args, "service-node-port-range");
    told.and_then(port_range).unwrap_or(NODE_PORTS)
}

fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| text.trim().parse::<u16>().ok();
    let range = if let Some((first, more)) = text.split_once('+') {
        let first = port(first)?;
        first..=first.saturating_add(port(more)?)
    } else if let Some((first, last)) = text.split_once('-') {
        port(first)?..=port(last)?
    } else {
        port(text)?..=port(text)?
    };
    (*range.start() > 0 && range.start() <= range.end()).then_some(range)
}

/// Whose packets a rule is about.
#[derive(Clone, Copy)]
enum Source {
    Nodes,
    Pods,
}

impl Source {
    /// The name of its set of one family.
    fn set(self, v4: bool) -> String {
        let who = match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
        };
        format!("{who}{}", if v4 { 4 } else { 6 })
    }
}

/// The subnets of a family, if there are any.
fn family(subnets: &[IpNet], v4: bool) -> Option<String> {
    let of_it = subnets.iter().filter(|net| net.addr().is_ipv4() == v4);
    let words = join(of_it).replace(',', ", ");
    (!words.is_empty()).then_some(words)
}

const fn header(v4: bool) -> &'static str {
    if v4 { "ip" } else { "ip6" }
}

fn set(text: &mut String, source: Source, subnets: &[IpNet]) {
    for v4 in [true, false] {
        if let Some(elements) = family(subnets, v4) {
            let (name, kind) = (source.set(v4), if v4 { "ipv4_addr" } else { "ipv6_addr" });
            let _infallible = write!(
                text,
                "    set {name} {{\n        type {kind}\n        flags interval\n        \
                 elements = {{ {elements} }}\n    }}\n"
            );
        }
    }
}

/// Whether the machine may hold an address that is another's later, and whether that is IPv4.
fn shares(config: &MachineConfig) -> Option<bool> {
    let shared = config.virtual_ip()?.address.is_ipv4();
    config.role().is_control_plane().then_some(shared)
}

fn leaving(text: &mut String, v4: bool) {
    let kind = if v4 { "ipv4_addr" } else { "ipv6_addr" };
    let _infallible = write!(
        text,
        "    set {LEAVING_SET} {{\n        type {kind}\n        flags timeout\n    }}\n"
    );
}

/// What a pod sends to whoever is no pod leaves with the node's address, since nobody else knows the
/// way back. Pods see each other's own. What stays on the bridge is not routed at all.
fn masquerade(text: &mut String, pods: &[IpNet]) {
    text.push_str("    chain postrouting {\n        type nat hook postrouting priority srcnat; policy accept;\n");
    for v4 in [true, false] {
        if family(pods, v4).is_some() {
            let (ip, set) = (header(v4), Source::Pods.set(v4));
            let _infallible = writeln!(
                text,
                "        {ip} saddr @{set} {ip} daddr != @{set} oifname != \"cni0\" masquerade"
            );
        }
    }
    text.push_str("    }\n");
}

struct Chain<'a> {
    text: String,
    nodes: &'a [IpNet],
    pods: &'a [IpNet],
}

impl Chain<'_> {
    /// What is for this machine itself. What it forwards, pods' and services' packets, is not filtered.
    fn input(mut self, config: &MachineConfig) -> String {
        self.text.push_str(
            "    chain input {\n        type filter hook input priority filter; policy drop;\n",
        );
        self.note("Whatever else is wrong here: who may change it gets in.");
        self.rule(format!("tcp dport {MACHINE_API_PORT} accept"));
        self.rule("ct state established,related accept");
        if let Some(v4) = shares(config) {
            self.note(
                "An address that is about to be another machine's: who comes now finds it there.",
            );
            let ip = header(v4);
            self.rule(format!(
                "{ip} daddr @{LEAVING_SET} tcp dport {API_PORT} drop"
            ));
        }
        self.rule("iifname \"lo\" accept");
        self.note("ICMP of both families: errors, echo, neighbours and routers.");
        self.rule("meta l4proto { 1, 58 } accept");
        self.note("What DHCP servers answer.");
        self.rule("udp sport 67 udp dport 68 accept");
        self.rule("ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept");
        self.entries(&config.network().firewall.ingress);
        if !config.role().has_node() {
            self.note("etcd for the cluster's machines alone.");
            self.from(Source::Nodes, "tcp dport 2379-2380");
            self.text.push_str("    }\n");
            return self.text;
        }
        if config.role().is_control_plane() {
            self.note("The API server; etcd for nodes alone, not for their pods.");
            self.rule(format!("tcp dport {API_PORT} accept"));
            self.from(Source::Nodes, "tcp dport 2379-2380");
            self.rule("tcp dport 2379-2380 drop");
        }
        self.note("kubelet, and what says that kube-proxy is well.");
        self.from(Source::Nodes, "tcp dport { 10250, 10256 }");
        if config.role().is_control_plane() && config.virtual_ip().is_some() {
            self.note("VRRP.");
            self.from(Source::Nodes, "meta l4proto 112");
        }
        if *config.network_addon() != NetworkAddon::Bridge {
            self.note("The pod network between nodes, which is not ours.");
            for what in OVERLAYS {
                self.from(Source::Nodes, what);
            }
        }
        self.note("Services, also those that lead to this machine itself.");
        self.rule("ct status dnat accept");
        let ports = shown(&node_ports(config));
        self.rule(format!("meta l4proto {{ 6, 17 }} th dport {ports} accept"));
        self.note("Pods reach the machine that they run on.");
        self.from(Source::Pods, "");
        self.text.push_str("    }\n");
        self.text
    }

    /// What the document admits.
    fn entries(&mut self, entries: &[Ingress]) {
        for entry in entries {
            self.note(&entry.name);
            let ports: Vec<String> = entry.ports.iter().map(shown).collect();
            let what = format!("{} dport {{ {} }} accept", entry.protocol, ports.join(", "));
            if entry.subnets.is_empty() {
                self.rule(&what);
            }
            for v4 in [true, false] {
                if let Some(subnets) = family(&entry.subnets, v4) {
                    let ip = header(v4);
                    self.rule(format!("{ip} saddr {{ {subnets} }} {what}"));
                }
            }
        }
    }

    fn from(&mut self, source: Source, what: &str) {
        let subnets = match source {
            Source::Nodes => self.nodes,
            Source::Pods => self.pods,
        };
        for v4 in [true, false] {
            if family(subnets, v4).is_some() {
                let (ip, set) = (header(v4), source.set(v4));
                let what = if what.is_empty() {
                    ""
                } else {
                    &format!("{what} ")
                };
                self.rule(format!("{ip} saddr @{set} {what}accept"));
            }
        }
    }

    fn note(&mut self, text: &str) {
        self.rule(format!("# {text}"));
    }

    fn rule(&mut self, text: impl Display) {
        let _infallible = writeln!(self.text, "        {text}");
    }
}

fn shown(range: &RangeInclusive<u16>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    }
}

#[cfg(test)]
#[path = "firewall_tests.rs"]
mod tests;
