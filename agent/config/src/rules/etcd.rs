//! Whose etcd it is: the control planes' own, or somebody else's; and as what it runs.

use super::args;
use crate::document::EtcdSection;
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Endpoint, EtcdRunAs};

const SHAPE: &str = "write https://host:port, for example https://10.0.2.21:2379";

/// The endpoints of an external etcd; none where there is none.
pub(super) fn external(
    section: &EtcdSection,
    at: &Path,
    report: &mut Report<'_>,
) -> Option<Vec<Endpoint>> {
    let external = section.external.as_ref()?;
    let meant_for_members = [
        ("runAs", section.run_as.is_none()),
        ("extraArgs", section.extra_args.is_empty()),
        ("extraVolumes", section.extra_volumes.is_empty()),
        ("serverCertSANs", section.server_cert_sans.is_empty()),
        ("peerCertSANs", section.peer_cert_sans.is_empty()),
    ];
    for (field, unused) in meant_for_members {
        if !unused {
            let fault = Fault::new("has no effect: with external no machine has a member of etcd");
            report.key(&at.key(field), fault.hint("remove it, or external"));
        }
    }
    let at = at.key("external").key("endpoints");
    if external.endpoints.is_empty() {
        report.value(&at, Fault::new("names nobody").hint(SHAPE));
    }
    let mut endpoints = Vec::new();
    for (index, text) in external.endpoints.iter().enumerate() {
        match endpoint(text) {
            Ok(endpoint) if endpoints.contains(&endpoint) => {
                let fault = Fault::new("is given twice").hint("remove one of them");
                report.value(&at.index(index), fault);
            }
            Ok(endpoint) => endpoints.push(endpoint),
            Err(fault) => report.value(&at.index(index), fault),
        }
    }
    Some(endpoints)
}

/// As what members run. A unit gets what a pod gets, and its arguments on one line.
pub(super) fn run_as(section: &EtcdSection, at: &Path, report: &mut Report<'_>) -> EtcdRunAs {
    let run_as = section.run_as.unwrap_or_default();
    if run_as != EtcdRunAs::Unit || section.external.is_some() {
        return EtcdRunAs::Pod;
    }
    if !section.extra_volumes.is_empty() {
        let fault = Fault::new("has no effect: a unit has no volumes");
        let hint = "remove it, or runAs: unit";
        report.key(&at.key("extraVolumes"), fault.hint(hint));
    }
    for (index, arg) in section.extra_args.iter().enumerate() {
        // Others are refused for every program.
        if args::splits(&arg.value) && !arg.value.chars().any(char::is_control) {
            let fault = Fault::new("contains blanks, quotes, backslashes or $");
            let at = at.key("extraArgs").index(index).key("value");
            report.value(&at, fault.hint("write it without, or remove runAs: unit"));
        }
    }
    run_as
}

fn endpoint(text: &str) -> Result<Endpoint, Fault> {
    let Some(rest) = text.strip_prefix("https://") else {
        // Whoever can reach etcd without being asked who it is holds every Secret.
        return Err(Fault::new("is not https").hint(SHAPE));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // An API server takes no port for granted here, and the one that `Endpoint` does is not etcd's.
    let port = rest.rsplit_once(':').is_some_and(|(host, port)| {
        host.starts_with('[') == host.contains(':')
            && !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !port {
        return Err(Fault::new("names no port").hint(SHAPE));
    }
    let endpoint: Result<Endpoint, Fault> = rest.parse();
    endpoint.map_err(|fault| Fault::new(fault.message).hint(SHAPE))
}
