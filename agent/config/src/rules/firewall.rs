//! What the machine admits beyond what its role needs.

use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::network::ranges;
use crate::document::{FirewallSection, IngressSection};
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Firewall, Ingress, check_label};

/// Entries, and ports and subnets of one: each is compared with each.
const MOST: usize = 64;

pub(super) fn judge(section: FirewallSection, at: &Path, report: &mut Report<'_>) -> Firewall {
    let mut ingress: Vec<Ingress> = Vec::new();
    few(section.ingress.len(), &at.key("ingress"), report);
    for (index, section) in section.ingress.into_iter().take(MOST).enumerate() {
        let at = at.key("ingress").index(index);
        let entry = entry(section, &at, report);
        if ingress.iter().any(|earlier| earlier.name == entry.name) {
            let fault = Fault::new("is the name of an entry above");
            report.value(&at.key("name"), fault.hint("give each its own"));
        }
        // What is broken here is reported already.
        let twice = || ingress.iter().find_map(|earlier| both(earlier, &entry));
        if let Some(fault) = report.whole(&at).then(twice).flatten() {
            report.value(&at, fault);
        }
        ingress.push(entry);
    }
    Firewall {
        enabled: section.enabled,
        ingress,
    }
}

fn entry(section: IngressSection, at: &Path, report: &mut Report<'_>) -> Ingress {
    if let Err(fault) = check_label(&section.name) {
        report.value(&at.key("name"), fault);
    }
    let ports_at = at.key("ports");
    if section.ports.is_empty() {
        let fault = Fault::new("names no port");
        report.value(&ports_at, fault.hint("for example 9100 or 5000-5010"));
    }
    let subnets_at = at.key("subnets");
    few(section.ports.len(), &ports_at, report);
    few(section.subnets.len(), &subnets_at, report);
    let mut ports: Vec<RangeInclusive<u16>> = Vec::new();
    for (index, text) in section.ports.iter().take(MOST).enumerate() {
        let at = ports_at.index(index);
        match port_range(text) {
            Ok(range) => {
                if let Some(other) = ports.iter().find(|other| meet(other, &range)) {
                    let fault = Fault::new(format!("is partly said by {} already", shown(other)));
                    report.value(&at, fault.hint("say each port once"));
                }
                ports.push(range);
            }
            Err(fault) => report.wrong(&at, fault),
        }
    }
    let listed = section.subnets.len().min(MOST);
    let subnets = ranges(&section.subnets[..listed], &subnets_at, report);
    for (index, subnet) in subnets.iter().enumerate() {
        let earlier = subnets[..index].iter();
        if let Some(other) = earlier.copied().find(|other| overlap(other, subnet)) {
            let fault = Fault::new(format!("overlaps {other}"));
            // Positions are those of the document only while nothing is broken.
            if report.whole(&subnets_at) {
                let hint = "say each address once";
                report.value(&subnets_at.index(index), fault.hint(hint));
            }
        }
    }
    Ingress {
        name: section.name,
        protocol: section.protocol,
        ports,
        subnets,
    }
}

fn few(count: usize, at: &Path, report: &mut Report<'_>) {
    if count > MOST {
        let fault = Fault::new(format!("has {count} entries"));
        report.value(
            at,
            fault.hint(format!("at most {MOST}; ranges say more at once")),
        );
    }
}

/// `9100` or `5000-5010`.
fn port_range(text: &str) -> Result<RangeInclusive<u16>, Fault> {
    let port = |text: &str| -> Option<u16> {
        // Not `+80`, which a number may be written as.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|port| digits && *port > 0)
    };
    let bounds = match text.split_once('-') {
        Some((first, last)) => port(first).zip(port(last)),
        None => port(text).map(|only| (only, only)),
    };
    match bounds {
        Some((first, last)) if first <= last => Ok(first..=last),
        Some((first, last)) => {
            Err(Fault::new("ends before it begins").hint(format!("write {last}-{first}")))
        }
        None => Err(Fault::new("is neither a port nor a range of ports")
            .hint("1 to 65535, for example 9100 or 5000-5010")),
    }
}

/// What two entries both admit, as a fault of the later one.
fn both(earlier: &Ingress, later: &Ingress) -> Option<Fault> {
    let from_both = |a: &[IpNet], b: &[IpNet]| {
        a.is_empty() || b.is_empty() || a.iter().any(|a| b.iter().any(|b| overlap(a, b)))
    };
    if earlier.protocol != later.protocol || !from_both(&earlier.subnets, &later.subnets) {
        return None;
    }
    let shared = later.ports.iter().find_map(|range| {
        let other = earlier.ports.iter().find(|other| meet(other, range))?;
        Some(*range.start().max(other.start())..=*range.end().min(other.end()))
    })?;
    let what = format!("{} {}", earlier.protocol, shown(&shared));
    let fault = Fault::new(format!(
        "admits {what}, which {} admits already",
        earlier.name
    ));
    Some(fault.hint("put it into one entry"))
}

fn meet(a: &RangeInclusive<u16>, b: &RangeInclusive<u16>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

fn shown(range: &RangeInclusive<u16>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    }
}
