//! systemd-networkd, -resolved and -timesyncd.

use std::fmt::Write;

use machine_config::{Interface, InterfaceSelector, MachineConfig, Network};

use super::join;
use crate::files::RenderedFile;

/// One file an interface, and the machine's DNS and time servers where the config names any.
pub(super) fn network(config: &MachineConfig) -> Vec<RenderedFile> {
    let network = config.network();
    let mut files: Vec<RenderedFile> = network
        .interfaces
        .iter()
        .enumerate()
        .map(|(place, interface)| {
            // networkd takes the first file that matches, by name: ten is after two.
            let path = format!("/etc/systemd/network/10-machined-{place:02}.network");
            RenderedFile::public(path, interface_file(interface, network))
        })
        .collect();
    if !network.nameservers.is_empty() {
        let servers = words(&network.nameservers);
        let path = "/etc/systemd/resolved.conf.d/90-machined.conf";
        files.push(RenderedFile::public(
            path,
            format!("[Resolve]\nDNS={servers}\n"),
        ));
    }
    if !network.time_servers.is_empty() {
        let servers = words(&network.time_servers);
        let path = "/etc/systemd/timesyncd.conf.d/90-machined.conf";
        files.push(RenderedFile::public(
            path,
            format!("[Time]\nNTP={servers}\n"),
        ));
    }
    files
}

fn words<T: std::fmt::Display>(values: &[T]) -> String {
    join(values).replace(',', " ")
}

fn interface_file(interface: &Interface, network: &Network) -> String {
    let mut text = String::from("[Match]\n");
    // Bridges and VLANs copy the address of the card below them: only the card is meant.
    match &interface.selector {
        InterfaceSelector::Name(name) => line(&mut text, "Name", name),
        InterfaceSelector::HardwareAddress(address) => {
            line(&mut text, "MACAddress", address);
            line(&mut text, "Type", "ether");
        }
        InterfaceSelector::Driver(driver) => line(&mut text, "Driver", driver),
    }
    if let Some(mtu) = interface.mtu {
        section(&mut text, "Link");
        line(&mut text, "MTUBytes", mtu);
    }
    section(&mut text, "Network");
    line(&mut text, "DHCP", yes_no(interface.dhcp));
    if interface.dhcp {
        // Forwarding makes networkd take itself for a router, which ignores advertisements.
        line(&mut text, "IPv6AcceptRA", "yes");
    }
    for address in &interface.addresses {
        line(&mut text, "Address", address);
    }
    if interface.dhcp {
        // What the config names replaces what DHCP offers, rather than standing beside it. The
        // machine's name is the config's alone. The lease goes by hardware address, since the
        // machine's id may be new at every boot.
        let dns = yes_no(network.nameservers.is_empty());
        section(&mut text, "DHCPv4");
        line(&mut text, "ClientIdentifier", "mac");
        line(&mut text, "UseDNS", dns);
        line(&mut text, "UseHostname", "no");
        line(&mut text, "UseNTP", yes_no(network.time_servers.is_empty()));
        section(&mut text, "DHCPv6");
        line(&mut text, "UseDNS", dns);
        line(&mut text, "UseHostname", "no");
        line(&mut text, "UseNTP", yes_no(network.time_servers.is_empty()));
        section(&mut text, "IPv6AcceptRA");
        line(&mut text, "UseDNS", dns);
    }
    for route in &interface.routes {
        section(&mut text, "Route");
        line(&mut text, "Destination", route.to);
        match route.via {
            Some(gateway) => line(&mut text, "Gateway", gateway),
            None => line(&mut text, "Scope", "link"),
        }
        if let Some(metric) = route.metric {
            line(&mut text, "Metric", metric);
        }
    }
    text
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn section(text: &mut String, name: &str) {
    let _infallible = write!(text, "\n[{name}]\n");
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    let _infallible = writeln!(text, "{key}={value}");
}
