//! What all machines of the cluster share.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::args::{self, Program};
use super::network::parse_range;
use super::{manifests, runtime};
use crate::document::{ClusterSection, NetworkAddonKind, NetworkingSection, VolumeSection};
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{
    Arg, Component, ComponentSource, Endpoint, HostVolume, KubernetesVersion, NetworkAddon,
    check_label, check_subdomain,
};

/// The judged section; what could not be made sense of is none or left out.
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) pod_subnets: Vec<IpNet>,
    pub(super) service_subnets: Vec<IpNet>,
    pub(super) dns_domain: String,
    pub(super) api_server: Component,
    pub(super) controller_manager: Component,
    pub(super) scheduler: Component,
    pub(super) etcd: Component,
    pub(super) network_addon: NetworkAddon,
    pub(super) extra_manifests: Vec<String>,
    pub(super) component_source: Option<ComponentSource>,
    pub(super) allow_scheduling_on_control_planes: bool,
}

pub(super) fn judge(
    section: ClusterSection,
    version: Option<KubernetesVersion>,
    report: &mut Report<'_>,
) -> Cluster {
    let at = Path::root().key("cluster");
    if let Err(fault) = check_label(&section.name) {
        report.value(&at.key("name"), fault);
    }
    if let Err(fault) = check_id(&section.id) {
        report.value(&at.key("id"), fault);
    }
    let endpoint = report.parse(
        &at.key("controlPlaneEndpoint"),
        &section.control_plane_endpoint,
    );

    let api_at = at.key("apiServer");
    let api = section.api_server;
    let mut api_server = component(
        api.extra_args,
        api.extra_volumes,
        Program::ApiServer,
        &api_at,
        version,
        report,
    );
    api_server.cert_sans = report.parse_all(&api_at.key("certSANs"), &api.cert_sans);
    let mut plain = |section: crate::document::ComponentSection, program, key: &str| {
        let at = at.key(key);
        component(
            section.extra_args,
            section.extra_volumes,
            program,
            &at,
            version,
            report,
        )
    };
    let controller_manager = plain(
        section.controller_manager,
        Program::ControllerManager,
        "controllerManager",
    );
    let scheduler = plain(section.scheduler, Program::Scheduler, "scheduler");
    let etcd_at = at.key("etcd");
    let etcd = section.etcd;
    let mut etcd_component = component(
        etcd.extra_args,
        etcd.extra_volumes,
        Program::Etcd,
        &etcd_at,
        version,
        report,
    );
    etcd_component.server_cert_sans =
        report.parse_all(&etcd_at.key("serverCertSANs"), &etcd.server_cert_sans);
    etcd_component.peer_cert_sans =
        report.parse_all(&etcd_at.key("peerCertSANs"), &etcd.peer_cert_sans);

    let (pod_subnets, service_subnets) = networking(
        &section.networking,
        &controller_manager.extra_args,
        &at.key("networking"),
        report,
    );
    let component_source = if section.image == "embedded" {
        Some(ComponentSource::Embedded)
    } else {
        let prefix = section.image.trim_end_matches('/').to_owned();
        match runtime::registry_prefix(&prefix) {
            Ok(()) => Some(ComponentSource::Registry(prefix)),
            Err(fault) => {
                report.value(&at.key("image"), fault);
                None
            }
        }
    };
    let network_addon = addon(section.network_addon, &at.key("networkAddon"), report);
    if matches!(network_addon, NetworkAddon::Bridge) {
        let at = at.key("controllerManager").key("extraArgs");
        subnets_are_given(&controller_manager.extra_args, &at, report);
    }
    manifests::judge(&section.extra_manifests, &at.key("extraManifests"), report);
    Cluster {
        name: section.name,
        id: section.id,
        endpoint,
        pod_subnets,
        service_subnets,
        dns_domain: section.networking.dns_domain,
        api_server,
        controller_manager,
        scheduler,
        etcd: etcd_component,
        network_addon,
        extra_manifests: section.extra_manifests,
        component_source,
        allow_scheduling_on_control_planes: section.allow_scheduling_on_control_planes,
    }
}

fn check_id(id: &str) -> Result<(), Fault> {
    let allowed = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    if (8..=64).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(());
    }
    Err(Fault::new("is not a cluster id")
        .hint("8 to 64 of 0-9, a-f and -; machinectl gen config makes one"))
}

fn addon(
    section: crate::document::NetworkAddonSection,
    at: &Path,
    report: &mut Report<'_>,
) -> NetworkAddon {
    manifests::judge(&section.manifests, &at.key("manifests"), report);
    let whole = report.whole(at);
    match section.kind {
        NetworkAddonKind::Manifests => {
            if section.manifests.is_empty() && whole {
                let fault = Fault::new("names no manifests");
                report.value(&at.key("type"), fault.hint("add manifests:, or use none"));
            }
            NetworkAddon::Manifests(section.manifests)
        }
        other => {
            if !section.manifests.is_empty() && whole {
                let fault = Fault::new("would not be applied");
                report.value(&at.key("manifests"), fault.hint("write type: manifests"));
            }
            match other {
                NetworkAddonKind::None => NetworkAddon::None,
                _ => NetworkAddon::Bridge,
            }
        }
    }
}

/// The built-in network waits for what the controller manager gives each node.
fn subnets_are_given(args: &[Arg], at: &Path, report: &mut Report<'_>) {
    for (index, arg) in args.iter().enumerate() {
        let off = match arg.name.as_str() {
            "allocate-node-cidrs" => arg.value == "false",
            "controllers" => arg.value.split(',').any(|word| word == "-nodeipam"),
            _ => false,
        };
        if off {
            let fault =
                Fault::new("leaves nodes without pod subnets, which the network bridge needs");
            let hint = "remove it, or choose another cluster.networkAddon";
            report.value(&at.index(index).key("value"), fault.hint(hint));
        }
    }
}

fn component(
    args: Vec<crate::document::ArgSection>,
    volumes: Vec<VolumeSection>,
    program: Program,
    at: &Path,
    version: Option<KubernetesVersion>,
    report: &mut Report<'_>,
) -> Component {
    Component {
        extra_args: args::judge(args, program, &at.key("extraArgs"), version, report),
        extra_volumes: self::volumes(volumes, program, &at.key("extraVolumes"), report),
        ..Component::default()
    }
}

/// Names of the volumes the agent's own pods have.
const OWN_VOLUMES: &[&str] = &[
    "k8s-certs",
    "ca-certs",
    "kubeconfig",
    "etcd-data",
    "etcd-certs",
    "flexvolume-dir",
    "usr",
];

/// Where the agent's own volumes are: a pod with two on one path is refused.
const fn own_mounts(program: Program) -> &'static [&'static str] {
    const MANAGER: &str = "/etc/kubernetes/controller-manager.conf";
    const SCHEDULER: &str = "/etc/kubernetes/scheduler.conf";
    match program {
        Program::ApiServer => &["/usr", "/etc/kubernetes/pki", "/etc/ssl/certs"],
        Program::ControllerManager => &[
            "/usr",
            "/etc/kubernetes/pki",
            "/etc/ssl/certs",
            "/var/lib/kubelet/volumeplugins",
            MANAGER,
        ],
        Program::Scheduler => &["/usr", SCHEDULER],
        Program::Etcd => &["/usr", "/etc/kubernetes/pki/etcd", "/var/lib/etcd"],
        Program::Kubelet => &[],
    }
}

fn volumes(
    sections: Vec<VolumeSection>,
    program: Program,
    at: &Path,
    report: &mut Report<'_>,
) -> Vec<HostVolume> {
    let mut names = BTreeSet::new();
    let mut mounts = BTreeSet::new();
    let mut volumes = Vec::with_capacity(sections.len());
    for (index, section) in sections.into_iter().enumerate() {
        let at = at.index(index);
        if let Err(fault) = check_label(&section.name) {
            report.value(&at.key("name"), fault);
        } else if OWN_VOLUMES.contains(&section.name.as_str()) {
            let fault = Fault::new("is the name of a volume the agent adds");
            report.value(&at.key("name"), fault.hint("choose another"));
        } else if !names.insert(section.name.clone()) {
            let fault = Fault::new("is the name of another volume");
            report.value(&at.key("name"), fault.hint("choose another"));
        }
        for (key, path) in [
            ("hostPath", &section.host_path),
            ("mountPath", &section.mount_path),
        ] {
            if let Err(fault) = absolute(path) {
                report.value(&at.key(key), fault);
            }
        }
        let mount = section.mount_path.trim_end_matches('/').to_owned();
        if own_mounts(program).contains(&mount.as_str()) {
            let fault = Fault::new("is where the agent mounts a volume of its own");
            report.value(&at.key("mountPath"), fault.hint("choose another path"));
        } else if !mounts.insert(mount) {
            let fault = Fault::new("is where another volume is mounted");
            report.value(&at.key("mountPath"), fault.hint("choose another path"));
        }
        volumes.push(HostVolume {
            name: section.name,
            host_path: section.host_path,
            mount_path: section.mount_path,
            read_only: section.read_only,
            path_type: section.path_type,
        });
    }
    volumes
}

fn absolute(path: &str) -> Result<(), Fault> {
    let climbs = path.split('/').any(|part| matches!(part, ".." | "."));
    if !path.starts_with('/') || climbs || path.len() > 4096 || path.chars().any(char::is_control) {
        return Err(Fault::new("is not an absolute path").hint("start with /, without . and .."));
    }
    if path.contains(':') {
        return Err(Fault::new("contains a colon, which Kubernetes refuses"));
    }
    if path.trim_end_matches('/').is_empty() {
        return Err(Fault::new("is the root itself").hint("name something below it"));
    }
    Ok(())
}

fn networking(
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
