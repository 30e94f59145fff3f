//! What all machines of the cluster share.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::args::{self, Program};
use super::{duration, etcd, manifests, runtime, subnets, virtual_ip, volumes};
use crate::document::{ClusterSection, NetworkAddonKind, VolumeSection};
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{
    Arg, Component, ComponentSource, Endpoint, EtcdRunAs, KubernetesVersion, NetworkAddon,
    VirtualIp, check_label,
};

/// The judged section; what could not be made sense of is none or left out.
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) control_planes: Vec<IpAddr>,
    pub(super) virtual_ip: Option<VirtualIp>,
    pub(super) node_load_balancer: bool,
    pub(super) start_timeout: Duration,
    pub(super) pod_subnets: Vec<IpNet>,
    pub(super) service_subnets: Vec<IpNet>,
    pub(super) dns_domain: String,
    pub(super) api_server: Component,
    pub(super) controller_manager: Component,
    pub(super) scheduler: Component,
    pub(super) etcd: Component,
    pub(super) etcd_run_as: EtcdRunAs,
    pub(super) external_etcd: Option<Vec<Endpoint>>,
    pub(super) etcd_members: Option<Vec<IpAddr>>,
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
    let control_planes = etcd::control_planes(&section, &at, report);
    let virtual_ip = section.virtual_ip.and_then(|section| {
        virtual_ip::judge(&section, endpoint.as_ref(), &at.key("virtualIP"), report)
    });

    let api_at = at.key("apiServer");
    let api = section.api_server;
    let start_timeout = start_timeout(
        api.timeout_for_control_plane.as_deref(),
        &api_at.key("timeoutForControlPlane"),
        report,
    );
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
    let member = section.etcd;
    let external_etcd = etcd::external(&member, &etcd_at, report);
    let etcd_members = etcd::members(&member, &etcd_at, report);
    let etcd_run_as = etcd::run_as(&member, &etcd_at, report);
    let mut etcd_component = component(
        member.extra_args,
        member.extra_volumes,
        Program::Etcd,
        &etcd_at,
        version,
        report,
    );
    etcd_component.server_cert_sans =
        report.parse_all(&etcd_at.key("serverCertSANs"), &member.server_cert_sans);
    etcd_component.peer_cert_sans =
        report.parse_all(&etcd_at.key("peerCertSANs"), &member.peer_cert_sans);

    let (pod_subnets, service_subnets) = subnets::judge(
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
        control_planes,
        node_load_balancer: section.node_load_balancer.unwrap_or(virtual_ip.is_some()),
        virtual_ip,
        start_timeout,
        pod_subnets,
        service_subnets,
        dns_domain: section.networking.dns_domain,
        api_server,
        controller_manager,
        scheduler,
        etcd: etcd_component,
        etcd_run_as,
        external_etcd,
        etcd_members,
        network_addon,
        extra_manifests: section.extra_manifests,
        component_source,
        allow_scheduling_on_control_planes: section.allow_scheduling_on_control_planes,
    }
}

/// kubeadm's default.
const START_TIMEOUT: Duration = Duration::from_secs(240);

/// Whether a text is a time that the API server may take to start.
pub(crate) fn is_start_timeout(text: &str) -> bool {
    accepted_start_timeout(text).is_some()
}

fn accepted_start_timeout(text: &str) -> Option<Duration> {
    duration::parse(text).filter(|time| (60..=3600).contains(&time.as_secs()))
}

fn start_timeout(text: Option<&str>, at: &Path, report: &mut Report<'_>) -> Duration {
    let Some(text) = text else {
        return START_TIMEOUT;
    };
    accepted_start_timeout(text).unwrap_or_else(|| {
        let fault = Fault::new("is not a duration from 1m to 1h");
        report.value(at, fault.hint("for example 4m0s or 600s"));
        START_TIMEOUT
    })
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
        extra_volumes: volumes::judge(volumes, program, &at.key("extraVolumes"), report),
        ..Component::default()
    }
}
