//! Whose etcd it is: the control planes' own, that of machines of its own, or somebody else's; and as
//! what it runs.

use std::net::IpAddr;

use super::args;
use crate::document::{ClusterSection, EtcdSection, MachineSection};
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Endpoint, EtcdRunAs, Role};

const ADDRESS: &str = "write the address of a machine of role etcd, for example 10.0.2.21";

const CONTROL_PLANE: &str = "write the address of a control plane machine, for example 10.0.2.11";

const SHAPE: &str = "write https://host:port, for example https://10.0.2.21:2379";

/// The endpoints of an external etcd; none where there is none.
pub(super) fn external(
    section: &EtcdSection,
    at: &Path,
    report: &mut Report<'_>,
) -> Option<Vec<Endpoint>> {
    let external = section.external.as_ref()?;
    let meant_for_members = [
        ("members", section.members.is_empty()),
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

/// Where the machines of role `etcd` are; none where there are none.
pub(super) fn members(
    section: &EtcdSection,
    at: &Path,
    report: &mut Report<'_>,
) -> Option<Vec<IpAddr>> {
    if section.members.is_empty() || section.external.is_some() {
        return None;
    }
    let at = at.key("members");
    Some(addresses(&section.members, &at, ADDRESS, report))
}

/// Where control planes with members of etcd may be.
pub(super) fn control_planes(
    section: &ClusterSection,
    at: &Path,
    report: &mut Report<'_>,
) -> Vec<IpAddr> {
    let at = at.key("controlPlanes");
    let elsewhere = section.etcd.external.is_some() || !section.etcd.members.is_empty();
    if elsewhere && !section.control_planes.is_empty() {
        let fault = Fault::new("has no effect: control planes have no members of etcd here");
        report.key(&at, fault.hint("remove it"));
    }
    addresses(&section.control_planes, &at, CONTROL_PLANE, report)
}

/// Addresses of machines.
fn addresses(
    texts: &[String],
    at: &Path,
    hint: &'static str,
    report: &mut Report<'_>,
) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let fault = match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() => {
                Fault::new("is an address at which no other machine is reached").hint(hint)
            }
            Ok(ip) if addresses.contains(&ip) => {
                Fault::new("is given twice").hint("remove one of them")
            }
            Ok(ip) => {
                addresses.push(ip);
                continue;
            }
            Err(_) => Fault::new("is not an address").hint(hint),
        };
        report.wrong(&at.index(index), fault);
    }
    addresses
}

/// What a machine of role `etcd` needs, and what would do nothing there.
pub(super) fn of_role(machine: &MachineSection, cluster: &ClusterSection, report: &mut Report<'_>) {
    let root = Path::root();
    if machine.role != Role::Etcd || !report.sound(&root.key("machine").key("role")) {
        return;
    }
    let at = root.key("cluster").key("etcd");
    if cluster.etcd.external.is_some() {
        let fault = Fault::new("cannot be: this machine has a member of the cluster's own etcd");
        report.key(
            &at.key("external"),
            fault.hint("remove it, or give the machine another role"),
        );
    } else if cluster.etcd.members.is_empty() {
        let fault = Fault::new("is missing: machines of role etcd find each other by it");
        report.value(
            &at.key("members"),
            fault.hint("the addresses of all of them"),
        );
    }
    let kubelet = &machine.kubelet;
    let of_kubernetes = [
        ("kubelet", "extraArgs", kubelet.extra_args.is_empty()),
        ("kubelet", "extraConfig", kubelet.extra_config.is_empty()),
        ("kubelet", "nodeLabels", kubelet.node_labels.is_empty()),
        ("kubelet", "taints", kubelet.taints.is_empty()),
        (
            "containerd",
            "registryMirrors",
            machine.containerd.registry_mirrors.is_empty(),
        ),
        (
            "containerd",
            "sandboxImage",
            machine.containerd.sandbox_image.is_empty(),
        ),
    ];
    for (section, field, unused) in of_kubernetes {
        if !unused {
            let fault =
                Fault::new("has no effect: a machine of role etcd runs nothing of Kubernetes");
            let at = root.key("machine").key(section).key(field);
            report.key(&at, fault.hint("remove it"));
        }
    }
}

/// As what members run. A unit gets what a pod gets, and its arguments on one line.
pub(super) fn run_as(section: &EtcdSection, at: &Path, report: &mut Report<'_>) -> EtcdRunAs {
    if section.external.is_some() {
        return EtcdRunAs::Pod;
    }
    // Where there is no kubelet there are no pods.
    let alone = !section.members.is_empty();
    if alone && section.run_as == Some(EtcdRunAs::Pod) {
        let fault = Fault::new("cannot be pod: machines of role etcd have no kubelet");
        report.value(&at.key("runAs"), fault.hint("remove it"));
    }
    let run_as = match alone {
        true => EtcdRunAs::Unit,
        false => section.run_as.unwrap_or_default(),
    };
    if run_as == EtcdRunAs::Pod {
        return run_as;
    }
    if !section.extra_volumes.is_empty() {
        let fault = Fault::new("has no effect: a unit has no volumes");
        let hint = match alone {
            true => "remove it",
            false => "remove it, or runAs: unit",
        };
        report.key(&at.key("extraVolumes"), fault.hint(hint));
    }
    for (index, arg) in section.extra_args.iter().enumerate() {
        // Others are refused for every program.
        if args::splits(&arg.value) && !arg.value.chars().any(char::is_control) {
            let fault = Fault::new("contains blanks, quotes, backslashes or $");
            let at = at.key("extraArgs").index(index).key("value");
            let hint = match alone {
                true => "write it without",
                false => "write it without, or remove runAs: unit",
            };
            report.value(&at, fault.hint(hint));
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
