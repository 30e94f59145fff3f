//! The cluster's ranges of pod and service addresses.

use ipnet::IpNet;

use super::network::parse_range;
use crate::document::NetworkingSection;
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Arg, check_subdomain};

/// Pod ranges and service ranges.
pub(super) fn judge(
    section: &NetworkingSection,
    manager_args: &[Arg],
    at: &Path,
    report: &mut Report<'_>,
) -> (Vec<IpNet>, Vec<IpNet>) {
    let (pods_at, services_at) = (at.key("podSubnet"), at.key("serviceSubnet"));
    let pods = stack(&section.pod_subnet, &pods_at, report);
    let services = stack(&section.service_subnet, &services_at, report);
    if let Err(fault) = check_subdomain(&section.dns_domain) {
        report.value(&at.key("dnsDomain"), fault);
    }
    for range in &services {
        if let Err(fault) = service_size(range) {
            report.value(&services_at, fault);
        }
    }
    for range in &pods {
        if let Err(fault) = pod_size(range, pods.len() > 1, manager_args) {
            report.value(&pods_at, fault);
        }
    }
    if !report.sound(&pods_at) || !report.sound(&services_at) {
        return (pods, services);
    }
    for pod in &pods {
        let clash = services
            .iter()
            .find(|range| range.contains(pod) || pod.contains(*range));
        if let Some(service) = clash {
            let fault = Fault::new(format!("{pod} overlaps serviceSubnet {service}"));
            report.value(&pods_at, fault.hint("choose ranges apart from each other"));
        }
    }
    let families = |ranges: &[IpNet]| -> Vec<bool> {
        ranges.iter().map(|range| range.addr().is_ipv4()).collect()
    };
    if families(&pods) != families(&services) {
        let fault = Fault::new("has other address families than podSubnet");
        report.value(
            &services_at,
            fault.hint("name the same families in the same order"),
        );
    }
    (pods, services)
}

/// One range, or two of different families separated by a comma.
fn stack(text: &str, at: &Path, report: &mut Report<'_>) -> Vec<IpNet> {
    let mut ranges: Vec<IpNet> = Vec::new();
    for part in text.split(',') {
        match parse_range(part.trim()) {
            Ok(range) if nobodys(&range) => {
                let fault = Fault::new(format!("{range} is not for machines or pods to have"));
                report.wrong(
                    at,
                    fault.hint("for example 10.244.0.0/16 or fd00:10:244::/56"),
                );
                return Vec::new();
            }
            Ok(range) => ranges.push(range),
            Err(fault) => {
                report.wrong(at, fault);
                return Vec::new();
            }
        }
    }
    let dual = match ranges.as_slice() {
        [_] => true,
        [first, second] => first.addr().is_ipv4() != second.addr().is_ipv4(),
        _ => false,
    };
    if !dual {
        let fault = Fault::new("names more than one range of a family");
        report.wrong(
            at,
            fault.hint("one range, or one IPv4 and one IPv6, with a comma"),
        );
        return Vec::new();
    }
    ranges
}

/// Loopback, link-local, multicast.
fn nobodys(range: &IpNet) -> bool {
    let ip = range.addr();
    let link_local = match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    ip.is_loopback() || ip.is_multicast() || link_local
}

/// The API server keeps a bitmap of at most 20 bits; DNS takes the tenth address.
fn service_size(range: &IpNet) -> Result<(), Fault> {
    let bits = range.max_prefix_len() - range.prefix_len();
    let (least, most) = (range.max_prefix_len() - 20, range.max_prefix_len() - 4);
    let hint = format!("/{least} to /{most}");
    if bits > 20 {
        return Err(Fault::new(format!("{range} is larger than 20 bits of addresses")).hint(hint));
    }
    if bits < 4 {
        return Err(Fault::new(format!("{range} has fewer than 16 addresses")).hint(hint));
    }
    Ok(())
}

/// Every node gets a part: by default a /24 (IPv4) or /64 (IPv6), of at most 2^16 parts.
fn pod_size(range: &IpNet, dual: bool, manager_args: &[Arg]) -> Result<(), Fault> {
    let (of_family, default) = match range {
        IpNet::V4(_) => ("node-cidr-mask-size-ipv4", 24),
        IpNet::V6(_) => ("node-cidr-mask-size-ipv6", 64),
    };
    // The controller manager refuses the flags of the other case.
    let flag = if dual {
        of_family
    } else {
        "node-cidr-mask-size"
    };
    // A dual-stack controller manager ends on the flag that names no family.
    if dual
        && manager_args
            .iter()
            .any(|arg| arg.name == "node-cidr-mask-size")
    {
        let fault = Fault::new("is of both families, and node-cidr-mask-size is for one");
        return Err(fault.hint("node-cidr-mask-size-ipv4 and node-cidr-mask-size-ipv6"));
    }
    let said = manager_args.iter().rev().find(|arg| arg.name == flag);
    let said = said.and_then(|arg| arg.value.parse().ok());
    let node = said
        .filter(|node| *node <= range.max_prefix_len())
        .unwrap_or(default);
    if range.prefix_len() > node {
        let fault = Fault::new(format!(
            "{range} is smaller than one node's part, a /{node}"
        ));
        return Err(fault.hint(format!(
            "a larger range, or {flag} in controllerManager.extraArgs"
        )));
    }
    if node - range.prefix_len() > 16 {
        let fault = Fault::new(format!("{range} holds more than 65536 parts of /{node}"));
        return Err(fault.hint(format!("/{} or longer", node.saturating_sub(16))));
    }
    Ok(())
}
