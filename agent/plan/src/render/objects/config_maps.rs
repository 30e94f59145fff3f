//! What kubeadm leaves in the cluster for nodes that join by it.

use machine_config::{Arg, Component, ComponentSource, HostVolume, MachineConfig};
use serde_json::{Map, Value, json};

use super::rbac::{group, reader};
use super::{JOINING_NODES, NODES, SYSTEM, config_map};
use crate::render::kubelet::cluster_configuration;
use crate::render::static_pods::needs_dual_stack_gate;
use crate::render::{ETCD_DATA, PKI, etcd_endpoints, gates, join, to_yaml};

/// `kubeadm-config`, so that a stock `kubeadm join` knows the cluster.
pub(super) fn kubeadm(config: &MachineConfig) -> Vec<Value> {
    let text = to_yaml(&cluster_configuration_for_kubeadm(config));
    let mut objects = vec![config_map(
        SYSTEM,
        "kubeadm-config",
        json!({ "ClusterConfiguration": text }),
    )];
    objects.extend(reader(
        SYSTEM,
        "kubeadm:nodes-kubeadm-config",
        ("configmaps", "kubeadm-config"),
        &[group(JOINING_NODES), group(NODES)],
    ));
    objects
}

/// The kubelet's configuration for nodes that join by kubeadm.
pub(super) fn kubelet(config: &MachineConfig) -> Vec<Value> {
    let version = *config.kubernetes_version();
    let suffix = if gates::KUBELET_CONFIG_MAP_BY_MINOR.holds(version) {
        format!("-{}.{}", version.major(), version.minor())
    } else {
        String::new()
    };
    // Without resolvConf, which is each machine's own: kubeadm puts it in where systemd-resolved
    // runs, and a name that is not there would keep every pod from starting.
    let configuration = cluster_configuration(config);
    let name = format!("kubelet-config{suffix}");
    let role = format!("kubeadm:kubelet-config{suffix}");
    let mut objects = vec![config_map(
        SYSTEM,
        &name,
        json!({ "kubelet": to_yaml(&configuration) }),
    )];
    objects.extend(reader(
        SYSTEM,
        &role,
        ("configmaps", &name),
        &[group(NODES), group(JOINING_NODES)],
    ));
    objects
}

fn cluster_configuration_for_kubeadm(config: &MachineConfig) -> Value {
    let version = *config.kubernetes_version();
    let as_list = gates::KUBEADM_V1BETA4.holds(version);
    let api_version = if as_list {
        "v1beta4"
    } else if gates::KUBEADM_V1BETA3.holds(version) {
        "v1beta3"
    } else {
        "v1beta2"
    };
    let mut api_server = component(config.api_server(), as_list);
    let sans: Vec<String> = config
        .api_server()
        .cert_sans
        .iter()
        .map(ToString::to_string)
        .collect();
    if !sans.is_empty() {
        api_server["certSANs"] = sans.into();
    }
    if !as_list {
        api_server["timeoutForControlPlane"] = "4m0s".into();
    }
    let etcd = match etcd_endpoints(config) {
        Some(endpoints) => json!({ "external": {
            "endpoints": endpoints,
            "caFile": format!("{PKI}/etcd/ca.crt"),
            "certFile": format!("{PKI}/apiserver-etcd-client.crt"),
            "keyFile": format!("{PKI}/apiserver-etcd-client.key"),
        } }),
        None => {
            let mut member = component(config.etcd(), as_list);
            member["dataDir"] = ETCD_DATA.into();
            json!({ "local": member })
        }
    };

    let mut configuration = json!({
        "apiVersion": format!("kubeadm.k8s.io/{api_version}"),
        "kind": "ClusterConfiguration",
        "apiServer": api_server,
        "certificatesDir": PKI,
        "clusterName": config.cluster_name(),
        "controlPlaneEndpoint": config.control_plane_endpoint().to_string(),
        "controllerManager": component(config.controller_manager(), as_list),
        "etcd": etcd,
        "kubernetesVersion": version.to_string(),
        "networking": networking(config),
        "scheduler": component(config.scheduler(), as_list),
    });
    if gates::KUBEADM_V1BETA2.holds(version) {
        configuration["dns"] = json!({ "type": "CoreDNS" });
    }
    if let ComponentSource::Registry(prefix) = config.component_source() {
        configuration["imageRepository"] = prefix.trim_end_matches('/').into();
    }
    if needs_dual_stack_gate(config) {
        configuration["featureGates"] = json!({ "IPv6DualStack": true });
    }
    if as_list {
        configuration["encryptionAlgorithm"] = "ECDSA-P256".into();
    }
    configuration
}

fn networking(config: &MachineConfig) -> Value {
    let mut networking = json!({ "dnsDomain": config.dns_domain() });
    if !config.pod_subnets().is_empty() {
        networking["podSubnet"] = join(config.pod_subnets()).into();
    }
    networking["serviceSubnet"] = join(config.service_subnets()).into();
    networking
}

fn component(wish: &Component, as_list: bool) -> Value {
    let mut component = json!({});
    if !wish.extra_args.is_empty() {
        component["extraArgs"] = if as_list {
            wish.extra_args.iter().map(argument).collect()
        } else {
            // A map cannot repeat a name: the last one stands, as it would for most programs.
            let pairs = wish.extra_args.iter();
            let map: Map<String, Value> = pairs
                .map(|arg| (arg.name.clone(), arg.value.as_str().into()))
                .collect();
            map.into()
        };
    }
    if !wish.extra_volumes.is_empty() {
        component["extraVolumes"] = wish.extra_volumes.iter().map(volume).collect();
    }
    component
}

fn argument(arg: &Arg) -> Value {
    json!({ "name": arg.name, "value": arg.value })
}

fn volume(volume: &HostVolume) -> Value {
    let mut value = json!({
        "name": volume.name,
        "hostPath": volume.host_path,
        "mountPath": volume.mount_path,
    });
    if volume.read_only {
        value["readOnly"] = true.into();
    }
    if let Some(kind) = volume.path_type {
        value["pathType"] = kind.as_str().into();
    }
    value
}
