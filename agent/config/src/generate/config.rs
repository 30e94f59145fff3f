//! A machine's config, as a person would write it.

use super::{ClusterDescription, NodeDescription};
use crate::write::Writer;

pub(super) fn write_config(
    cluster: &ClusterDescription,
    node: &NodeDescription,
    id: &str,
) -> String {
    let mut out = Writer::document(crate::document::MACHINE_CONFIG);
    out.section(0, "machine");
    out.text(2, "role", node.role.as_str());
    out.text(2, "hostname", &node.hostname);
    if !cluster.node_subnets.is_empty() {
        out.section(2, "nodeAddress");
        out.list(4, "subnets", &cluster.node_subnets);
    }
    out.list(2, "certSANs", &cluster.cert_sans);
    out.section(0, "cluster");
    out.text(2, "name", &cluster.name);
    out.text(2, "id", id);
    out.text(2, "controlPlaneEndpoint", &cluster.endpoint);
    let elsewhere = [&cluster.etcd_endpoints, &cluster.etcd_members];
    let elsewhere = elsewhere.iter().any(|list| !list.is_empty());
    let control_planes = cluster.nodes.iter();
    let control_planes = control_planes.filter(|node| node.role.is_control_plane());
    // Alone a machine has nobody to look for.
    if control_planes.count() > 1 && !elsewhere {
        out.list(2, "controlPlanes", &cluster.control_planes);
    }
    if let Some(address) = &cluster.virtual_ip {
        out.section(2, "virtualIP");
        out.text(4, "address", address);
    }
    out.text(2, "kubernetesVersion", &cluster.kubernetes_version);
    let ranges = [
        ("podSubnet", &cluster.pod_subnet),
        ("serviceSubnet", &cluster.service_subnet),
        ("dnsDomain", &cluster.dns_domain),
    ];
    if ranges.iter().any(|(_, value)| value.is_some()) {
        out.section(2, "networking");
        for (name, value) in ranges {
            if let Some(value) = value {
                out.text(4, name, value);
            }
        }
    }
    if !cluster.cert_sans.is_empty() {
        out.section(2, "apiServer");
        out.list(4, "certSANs", &cluster.cert_sans);
    }
    if cluster.etcd_run_as.is_some() || elsewhere {
        out.section(2, "etcd");
    }
    if let Some(run_as) = &cluster.etcd_run_as {
        out.text(4, "runAs", run_as);
    }
    out.list(4, "members", &cluster.etcd_members);
    if !cluster.etcd_endpoints.is_empty() {
        out.section(4, "external");
        out.list(6, "endpoints", &cluster.etcd_endpoints);
    }
    if let Some(addon) = &cluster.network_addon {
        out.section(2, "networkAddon");
        out.text(4, "type", addon);
    }
    if let Some(image) = &cluster.image {
        out.text(2, "image", image);
    }
    if cluster.allow_scheduling_on_control_planes {
        out.flag(2, "allowSchedulingOnControlPlanes");
    }
    out.finish()
}
