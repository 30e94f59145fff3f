//! Interfaces, addresses and routes.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::firewall;
use crate::document::{InterfaceSection, NetworkSection, RouteSection};
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Interface, InterfaceSelector, Network, Route, San};

pub(super) fn judge(section: NetworkSection, at: &Path, report: &mut Report<'_>) -> Network {
    let mut interfaces = Vec::new();
    let mut selectors = HashSet::new();
    let mut taken = HashSet::new();
    for (index, section) in section.interfaces.into_iter().enumerate() {
        let at = at.key("interfaces").index(index);
        let interface = interface(section, &at, report);
        let Some(interface) = interface else { continue };
        if !selectors.insert(interface.selector.clone()) {
            let fault = Fault::new("chooses an interface that an entry above chooses");
            report.value(&at, fault.hint("put all of one interface into one entry"));
        }
        let earlier = interfaces.iter().map(|i: &Interface| &i.selector);
        if let Some(pattern) = earlier
            .into_iter()
            .find_map(|e| covers(e, &interface.selector))
        {
            let fault = Fault::new(format!("is never used: {pattern} above takes it already"));
            report.value(&at, fault.hint(format!("put it above {pattern}")));
        }
        for (index, address) in interface.addresses.iter().enumerate() {
            if !taken.insert(address.addr()) {
                let at = at.key("addresses").index(index);
                report.value(&at, Fault::new("is given twice").hint("remove one of them"));
            }
        }
        interfaces.push(interface);
    }
    for (index, server) in section.time_servers.iter().enumerate() {
        let named = !server.starts_with("*.") && server.parse::<San>().is_ok();
        let named = named && !server.parse().is_ok_and(nobodys);
        if !named {
            let fault = Fault::new("is neither a DNS name nor an address");
            report.value(
                &at.key("timeServers").index(index),
                fault.hint("for example pool.example"),
            );
        }
    }
    let nameservers = addresses(&section.nameservers, &at.key("nameservers"), report);
    Network {
        interfaces,
        nameservers,
        time_servers: section.time_servers,
        firewall: firewall::judge(section.firewall, &at.key("firewall"), report),
    }
}

/// The earlier pattern, if it leaves nothing to the later name: the first that matches is taken.
fn covers<'a>(earlier: &'a InterfaceSelector, later: &InterfaceSelector) -> Option<&'a str> {
    let (InterfaceSelector::Name(pattern), InterfaceSelector::Name(name)) = (earlier, later) else {
        return None;
    };
    (pattern != name && matches(pattern.as_bytes(), name.as_bytes())).then_some(pattern)
}

/// Shell patterns of `*` and `?`; both are short.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| matches(rest, &name[at..])),
        ([b'?', rest @ ..], [_, name @ ..]) => matches(rest, name),
        ([a, rest @ ..], [b, name @ ..]) => a == b && matches(rest, name),
        ([], name) => name.is_empty(),
        _ => false,
    }
}

fn interface(section: InterfaceSection, at: &Path, report: &mut Report<'_>) -> Option<Interface> {
    let addresses = host_addresses(&section.addresses, &at.key("addresses"), report);
    let selector = selector(&section, at, report);
    if !section.dhcp && section.addresses.is_empty() && report.whole(at) {
        let fault = Fault::new("has neither dhcp nor addresses");
        report.value(at, fault.hint("write dhcp: true, or list addresses"));
    }
    if let Some(mtu) = section.mtu {
        // DHCP asks for both families.
        let ipv6 = section.dhcp || addresses.iter().any(|address| address.addr().is_ipv6());
        let least = if ipv6 { 1280 } else { 576 };
        if !(least..=65535).contains(&mtu) {
            let why = if ipv6 { " for IPv6" } else { "" };
            let fault = Fault::new(format!("{mtu} is no usable MTU{why}"));
            report.value(
                &at.key("mtu"),
                fault.hint(format!("{least} to 65535, usually 1500")),
            );
        }
    }
    let routes = section
        .routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| {
            let at = at.key("routes").index(index);
            judge_route(route, section.dhcp, &addresses, &at, report)
        });
    let routes = routes.collect();
    Some(Interface {
        selector: selector?,
        dhcp: section.dhcp,
        addresses,
        routes,
        mtu: section.mtu,
    })
}

fn selector(
    section: &InterfaceSection,
    at: &Path,
    report: &mut Report<'_>,
) -> Option<InterfaceSelector> {
    const ONE: &str = "write exactly one of name, hardwareAddress and driver";
    let chosen = [&section.name, &section.hardware_address, &section.driver];
    match chosen.iter().filter(|choice| choice.is_some()).count() {
        1 => {}
        // One of them may be there, but broken.
        _ if !report.whole(at) => return None,
        0 => {
            report.value(at, Fault::new("does not say which interface").hint(ONE));
            return None;
        }
        _ => {
            report.value(
                at,
                Fault::new("says in several ways which interface").hint(ONE),
            );
            return None;
        }
    }
    if let Some(name) = &section.name {
        // The kernel's limit is 15 bytes; systemd matches by pattern.
        let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '"' | '\\' | '!');
        if name.is_empty()
            || name.len() > 15
            || !name.chars().all(allowed)
            || matches!(name.as_str(), "lo" | "." | ".." | "all" | "default")
        {
            let fault = Fault::new("is not the name of an interface");
            report.value(
                &at.key("name"),
                fault.hint("1 to 15 characters, for example eth0"),
            );
        }
        return Some(InterfaceSelector::Name(name.clone()));
    }
    if let Some(address) = &section.hardware_address {
        let octet = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let parts = address.split(':').collect::<Vec<_>>();
        if parts.len() != 6 || !parts.iter().all(|part| octet(part)) {
            let fault = Fault::new("is not a hardware address");
            report.value(
                &at.key("hardwareAddress"),
                fault.hint("write it like 52:54:00:12:34:56"),
            );
        } else if address == "00:00:00:00:00:00"
            || u8::from_str_radix(parts[0], 16).is_ok_and(|first| first & 1 == 1)
        {
            let fault = Fault::new("is no machine's: it is zero, or of a group");
            report.value(
                &at.key("hardwareAddress"),
                fault.hint("a card's own, as ip link shows it"),
            );
        }
        return Some(InterfaceSelector::HardwareAddress(
            address.to_ascii_lowercase(),
        ));
    }
    let driver = section.driver.as_ref()?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if driver.is_empty() || driver.len() > 64 || !driver.bytes().all(allowed) {
        let fault = Fault::new("is not the name of a driver");
        report.value(&at.key("driver"), fault.hint("for example virtio_net"));
    }
    Some(InterfaceSelector::Driver(driver.clone()))
}

fn judge_route(
    section: &RouteSection,
    dhcp: bool,
    addresses: &[IpNet],
    at: &Path,
    report: &mut Report<'_>,
) -> Option<Route> {
    let to = range(&section.to, &at.key("to"), report);
    let via = match &section.via {
        Some(via) => Some(address(via, &at.key("via"), report)?),
        None => None,
    };
    let to = to?;
    let Some(gateway) = via else {
        if to.prefix_len() == 0 && report.whole(at) {
            let fault = Fault::new("is a default route without a gateway");
            report.value(at, fault.hint("add via: with the gateway's address"));
        }
        return Some(Route {
            to,
            via,
            metric: section.metric,
        });
    };
    let link_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let reachable = addresses.iter().any(|address| address.contains(&gateway));
    let own = addresses.iter().any(|address| address.addr() == gateway);
    let fault = if gateway.is_ipv4() != to.addr().is_ipv4() {
        Fault::new("is of another family than the destination").hint("both IPv4, or both IPv6")
    } else if own {
        Fault::new("is the machine's own address").hint("name the gateway's")
    } else if !dhcp && !reachable && !link_local && report.whole(at) {
        Fault::new(format!(
            "{gateway} cannot be reached through any of the addresses"
        ))
        .hint("an address in one of their networks")
    } else {
        return Some(Route {
            to,
            via,
            metric: section.metric,
        });
    };
    report.value(&at.key("via"), fault);
    None
}

/// Addresses with prefix length, such as `10.0.2.15/24`.
fn host_addresses(texts: &[String], at: &Path, report: &mut Report<'_>) -> Vec<IpNet> {
    const SHAPE: &str = "write the address with its prefix length, for example 10.0.2.15/24";
    let judge = |text: &str| -> Result<IpNet, Fault> {
        let net: IpNet = match text.parse() {
            Ok(net) => net,
            Err(_) if text.parse::<IpAddr>().is_ok() => {
                return Err(Fault::new("has no prefix length").hint(SHAPE));
            }
            Err(_) => return Err(Fault::new("is not an address").hint(SHAPE)),
        };
        let ip = net.addr();
        if nobodys(ip) || ip.is_loopback() || net.prefix_len() == 0 {
            return Err(Fault::new("cannot be an interface's address").hint(SHAPE));
        }
        // Point-to-point links of /31 and /32 (IPv6 /127, /128) have no network address.
        let host_bits = net.max_prefix_len() - net.prefix_len();
        let broadcast = net.broadcast() == ip && ip.is_ipv4();
        if host_bits > 1 && ip.is_ipv4() && (net.network() == ip || broadcast) {
            return Err(Fault::new("is the address of the network, not of a machine").hint(SHAPE));
        }
        Ok(net)
    };
    let mut nets = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match judge(text) {
            Ok(net) => nets.push(net),
            // Reported as broken, so that rules over several fields do not build on a gap.
            Err(fault) => report.wrong(&at.index(index), fault),
        }
    }
    nets
}

/// Ranges in canonical form, such as `10.0.2.0/24`.
pub(super) fn ranges(texts: &[String], at: &Path, report: &mut Report<'_>) -> Vec<IpNet> {
    let each = texts.iter().enumerate();
    each.filter_map(|(index, text)| range(text, &at.index(index), report))
        .collect()
}

/// One range, or its problem.
pub(super) fn range(text: &str, at: &Path, report: &mut Report<'_>) -> Option<IpNet> {
    match parse_range(text) {
        Ok(range) => Some(range),
        Err(fault) => {
            report.wrong(at, fault);
            None
        }
    }
}

/// A range whose host bits are all zero: anything else is a slip of the pen.
pub(super) fn parse_range(text: &str) -> Result<IpNet, Fault> {
    const SHAPE: &str = "write a range such as 10.0.2.0/24 or fd00::/64";
    // A range is read more generously than an address: 010 is ten here, eight elsewhere.
    let strict = text
        .split_once('/')
        .is_none_or(|(ip, _)| ip.parse::<IpAddr>().is_ok());
    let net: IpNet = match text.parse() {
        Ok(net) if strict => net,
        Ok(_) => return Err(Fault::new("is not an address range").hint(SHAPE)),
        Err(_) if text.parse::<IpAddr>().is_ok() => {
            return Err(Fault::new("has no prefix length").hint(SHAPE));
        }
        Err(_) => return Err(Fault::new("is not an address range").hint(SHAPE)),
    };
    if net.trunc() != net {
        let fault = Fault::new(format!("{net} has bits set beyond its prefix"));
        return Err(fault.hint(format!("write {}", net.trunc())));
    }
    Ok(net)
}

fn addresses(texts: &[String], at: &Path, report: &mut Report<'_>) -> Vec<IpAddr> {
    let each = texts.iter().enumerate();
    each.filter_map(|(index, text)| address(text, &at.index(index), report))
        .collect()
}

/// An address that no machine has, or one written as what it is not.
fn nobodys(ip: IpAddr) -> bool {
    let other = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    };
    other || ip.is_unspecified() || ip.is_multicast()
}

fn address(text: &str, at: &Path, report: &mut Report<'_>) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(ip) if !nobodys(ip) => Some(ip),
        Ok(_) => {
            report.wrong(
                at,
                Fault::new("is an address nobody has").hint("name a machine's"),
            );
            None
        }
        Err(_) => {
            let hint = "without port or prefix length, for example 10.0.2.3";
            report.wrong(at, Fault::new("is not an IP address").hint(hint));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("eth*", "eth0", true),
            ("*", "anything", true),
            ("e?h0", "eth0", true),
            ("*0", "eth0", true),
            ("eth*", "ens3", false),
            ("eth", "eth0", false),
            ("eth?", "eth", false),
        ] {
            let matched = super::matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(matched, expected, "{pattern} {name}");
        }
    }
}
