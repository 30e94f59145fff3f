//! What a document of the right shape must also say to be valid.

mod args;
mod cluster;
mod collisions;
mod duration;
mod etcd;
mod firewall;
mod gates;
mod host;
mod kubelet;
mod kubelet_fields;
mod labels;
mod manifests;
mod network;
mod runtime;
mod secrets;
mod subnets;
mod virtual_ip;
mod volumes;

pub(crate) use cluster::is_start_timeout;
pub(crate) use manifests::holds_secret;
pub(crate) use secrets::{Holder, judge as secrets};

use crate::document::MachineDocument;
use crate::machine::MachineConfig;
use crate::path::Path;
use crate::report::Report;
use crate::types::{Hostname, KubernetesVersion, Role};

/// Which role a document names, unless that is what is wrong with it.
pub(crate) fn role(document: &MachineDocument, report: &Report<'_>) -> Option<Role> {
    let path = Path::root().key("machine").key("role");
    report.sound(&path).then_some(document.machine.role)
}

/// Which name a document gives the machine, unless that is what is wrong with it.
pub(crate) fn hostname(document: &MachineDocument, report: &Report<'_>) -> Option<String> {
    let path = Path::root().key("machine").key("hostname");
    let name = &document.machine.hostname;
    report.sound(&path).then(|| name.clone())
}

/// Whether a document says that etcd is outside the cluster, unless that is what is wrong with it.
pub(crate) fn external_etcd(document: &MachineDocument, report: &Report<'_>) -> Option<bool> {
    let path = Path::root().key("cluster").key("etcd").key("external");
    report
        .sound(&path)
        .then_some(document.cluster.etcd.external.is_some())
}

/// Judges everything, reports all that is wrong, and gives the valid form if nothing was.
pub(crate) fn machine(document: MachineDocument, report: &mut Report<'_>) -> Option<MachineConfig> {
    let MachineDocument {
        machine, cluster, ..
    } = document;
    etcd::of_role(&machine, &cluster, report);
    let at = Path::root().key("machine");
    let hostname = report.parse::<Hostname>(&at.key("hostname"), &machine.hostname);
    let network = network::judge(machine.network, &at.key("network"), report);
    let node_ip_subnets = network::ranges(
        &machine.node_address.subnets,
        &at.key("nodeAddress").key("subnets"),
        report,
    );
    let containerd = runtime::judge(machine.containerd, &at.key("containerd"), report);
    host::sysctls(&machine.sysctls, &at.key("sysctls"), report);
    host::modules(&machine.kernel_modules, &at.key("kernelModules"), report);
    let cert_sans = report.parse_all(&at.key("certSANs"), &machine.cert_sans);

    let version_at = Path::root().key("cluster").key("kubernetesVersion");
    let version = report.parse::<KubernetesVersion>(&version_at, &cluster.kubernetes_version);
    let kubelet = kubelet::judge(machine.kubelet, &at.key("kubelet"), version, report);
    let cluster = cluster::judge(cluster, version, report);
    collisions::judge(&network, &kubelet, &cluster, report);

    Some(MachineConfig {
        role: machine.role,
        hostname: hostname?,
        network,
        node_ip_subnets,
        kubelet,
        containerd,
        sysctls: machine.sysctls,
        kernel_modules: machine.kernel_modules,
        cert_sans,
        cluster_name: cluster.name,
        cluster_id: cluster.id,
        control_plane_endpoint: cluster.endpoint?,
        control_planes: cluster.control_planes,
        virtual_ip: cluster.virtual_ip,
        node_load_balancer: cluster.node_load_balancer,
        start_timeout: cluster.start_timeout,
        kubernetes_version: version?,
        pod_subnets: cluster.pod_subnets,
        service_subnets: cluster.service_subnets,
        dns_domain: cluster.dns_domain,
        api_server: cluster.api_server,
        controller_manager: cluster.controller_manager,
        scheduler: cluster.scheduler,
        etcd: cluster.etcd,
        etcd_run_as: cluster.etcd_run_as,
        external_etcd: cluster.external_etcd,
        etcd_members: cluster.etcd_members,
        network_addon: cluster.network_addon,
        extra_manifests: cluster.extra_manifests,
        component_source: cluster.component_source?,
        allow_scheduling_on_control_planes: cluster.allow_scheduling_on_control_planes,
    })
}
