//! The machine's addresses against the cluster's ranges, and the families of both.

use std::net::IpAddr;

use super::cluster::Cluster;
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Kubelet, Network};

/// No address of the machine, and not the endpoint, may lie inside the ranges of pods or services:
/// traffic to it would end up in the cluster. And none may be the one that control planes share.
pub(super) fn judge(
    network: &Network,
    kubelet: &Kubelet,
    cluster: &Cluster,
    report: &mut Report<'_>,
) {
    let ranges = || {
        let pods = cluster.pod_subnets.iter().map(|range| ("podSubnet", range));
        pods.chain(
            cluster
                .service_subnets
                .iter()
                .map(|range| ("serviceSubnet", range)),
        )
    };
    let inside = |ip: IpAddr| {
        ranges()
            .find(|(_, range)| range.contains(&ip))
            .map(|(name, range)| {
                Fault::new(format!("{ip} lies inside {name} {range}"))
                    .hint(format!("change it, or cluster.networking.{name}"))
            })
    };
    let moves = |ip: IpAddr| {
        let virtual_ip = cluster.virtual_ip.as_ref()?;
        (virtual_ip.address == ip).then(|| {
            Fault::new(format!(
                "{ip} is the virtual IP, which moves between machines"
            ))
            .hint("leave it out: who holds it has it besides its own address")
        })
    };
    let machine = Path::root().key("machine");
    let at = machine.key("network").key("interfaces");
    // Positions among the valid ones are positions in the document only while nothing is broken.
    if report.whole(&at) {
        for (index, interface) in network.interfaces.iter().enumerate() {
            for (position, address) in interface.addresses.iter().enumerate() {
                let ip = address.addr();
                if let Some(fault) = inside(ip).or_else(|| moves(ip)) {
                    report.value(&at.index(index).key("addresses").index(position), fault);
                }
            }
        }
    }
    families(network, kubelet, cluster, report);
    if let Some(ip) = kubelet.node_ip {
        let at = machine.key("kubelet").key("nodeIP");
        if let Some(fault) = inside(ip).or_else(|| moves(ip)) {
            report.value(&at, fault);
        } else if let [first, ..] = cluster.pod_subnets.as_slice()
            && !cluster
                .pod_subnets
                .iter()
                .any(|range| range.addr().is_ipv4() == ip.is_ipv4())
        {
            let fault = Fault::new(format!("is of another family than podSubnet {first}"));
            report.value(&at, fault.hint("both IPv4, or both IPv6"));
        }
    }
    let at = Path::root().key("cluster");
    let members = cluster.etcd_members.as_deref().unwrap_or_default();
    let lists = [
        (at.key("etcd").key("members"), members),
        (at.key("controlPlanes"), &cluster.control_planes),
    ];
    for (at, list) in lists {
        let list = if report.whole(&at) { list } else { &[] };
        for (index, ip) in list.iter().enumerate() {
            if let Some(fault) = inside(*ip).or_else(|| moves(*ip)) {
                report.value(&at.index(index), fault);
            }
        }
    }
    if let Some(fault) = cluster
        .endpoint
        .as_ref()
        .and_then(|endpoint| inside(endpoint.ip()?))
    {
        report.value(
            &Path::root().key("cluster").key("controlPlaneEndpoint"),
            fault,
        );
    }
}

/// A node has an address of the family that its pods and services begin with. Where DHCP is asked,
/// nobody knows beforehand.
fn families(network: &Network, kubelet: &Kubelet, cluster: &Cluster, report: &mut Report<'_>) {
    let at = Path::root().key("machine").key("network").key("interfaces");
    let [first, ..] = cluster.pod_subnets.as_slice() else {
        return;
    };
    let dhcp = network.interfaces.iter().any(|interface| interface.dhcp);
    let mut all = network
        .interfaces
        .iter()
        .flat_map(|i| &i.addresses)
        .peekable();
    if dhcp || kubelet.node_ip.is_some() || all.peek().is_none() || !report.whole(&at) {
        return;
    }
    if !all.any(|address| address.addr().is_ipv4() == first.addr().is_ipv4()) {
        let fault = Fault::new(format!("no address is of podSubnet's family ({first})"));
        report.value(&at, fault.hint("add one, or change cluster.networking"));
    }
}
