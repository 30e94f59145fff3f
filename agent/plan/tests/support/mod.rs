//! What the goldens and the conformance tests share.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::time::{Duration, SystemTime};

use machine_config::{CaPair, ClusterSecrets, EtcdRunAs, IpNet, MachineConfig, NetworkAddon};
use machine_pki::Secret;
use machine_plan::facts::HostFacts;
use machine_plan::files::RenderedFile;
use machine_plan::render::{self, EtcdWish};
use serde_json::Value;

/// A config as the agent gets it: read and checked.
pub(crate) fn config(text: &str) -> MachineConfig {
    machine_config::read(text.as_bytes())
        .unwrap_or_else(|problems| panic!("{problems}"))
        .config
}

/// Secrets that are none: rendering objects only copies the CA's certificate and the token.
pub(crate) fn secrets() -> ClusterSecrets {
    let authority = |name: &str| CaPair {
        certificate: format!("certificate of {name}\n"),
        key: None,
    };
    ClusterSecrets {
        machine_ca: authority("machined-ca"),
        kubernetes_ca: Some(authority("kubernetes")),
        etcd_ca: None,
        external_etcd: None,
        front_proxy_ca: None,
        service_account: None,
        machine_identity: None,
        bootstrap_token: Some(Secret::new("abcdef.0123456789abcdef".to_owned())),
        encryption_key: None,
    }
}

/// A machine with the first address of its config's static ones, or a documentation address.
pub(crate) fn facts(config: &MachineConfig) -> HostFacts {
    let fallback = "192.0.2.10".parse().unwrap();
    let interfaces = config.network().interfaces.iter();
    let subnets: Vec<_> = interfaces.flat_map(|i| i.addresses.clone()).collect();
    let addresses: Vec<_> = subnets.iter().map(IpNet::addr).collect();
    let node_ip = addresses.first().copied().unwrap_or(fallback);
    HostFacts {
        interface: Some("eth0".to_owned()),
        addresses,
        subnets,
        control_planes: ["192.0.2.11", "192.0.2.12"]
            .map(|ip| ip.parse().unwrap())
            .into(),
        ..HostFacts::at(node_ip)
    }
}

/// The first control-plane node of a cluster.
pub(crate) fn first_member(config: &MachineConfig) -> EtcdWish {
    EtcdWish::New {
        name: config.hostname().to_string(),
    }
}

/// Every file of the node.
pub(crate) fn files(config: &MachineConfig) -> Vec<RenderedFile> {
    let facts = facts(config);
    let mut files = render::host(config);
    files.push(render::firewall(config, &facts));
    if config.role().has_node() {
        files.extend(render::containerd(config));
        files.extend(render::kubelet(config, &facts));
    }
    files.extend(render::haproxy(config, &facts, false).into_iter().flatten());
    files.extend(render::keepalived(config, &facts).into_iter().flatten());
    if config.role().has_node() && *config.network_addon() == NetworkAddon::Bridge {
        files.push(render::cni(config, config.pod_subnets()));
    }
    if config.role().is_control_plane() {
        let wish = first_member(config);
        files.extend(render::static_pods(config, &facts, &wish, false));
    }
    if config.has_etcd_member() && config.etcd_run_as() == EtcdRunAs::Unit {
        files.push(render::etcd_file(config, &facts, &first_member(config)));
    }
    files
}

/// Every object of the cluster.
pub(crate) fn objects(config: &MachineConfig) -> Vec<Value> {
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    render::cluster_objects(config, &secrets(), Some(expires))
}
