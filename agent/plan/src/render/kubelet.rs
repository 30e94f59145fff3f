//! The kubelet's configuration and flags.

use std::net::IpAddr;

use ipnet::IpNet;
use machine_config::MachineConfig;
use serde_json::{Map, Value, json};

use super::args::Args;
use super::marks::{kubelet_may_set, taints};
use super::static_pods::{FLEXVOLUMES, needs_dual_stack_gate};
use super::{MANIFESTS, PKI, gates, join, to_yaml};
use crate::address::choose_second_ip;
use crate::facts::HostFacts;
use crate::files::RenderedFile;

const CONFIG: &str = "/var/lib/kubelet/config.yaml";
const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
const CONTAINERD_SOCKET: &str = "unix:///run/containerd/containerd.sock";
/// The upstream servers that systemd-resolved found, without its stub.
const RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";
/// The DNS service has the tenth address of the service range, by kubeadm's convention.
const DNS_ADDRESS: u8 = 10;

/// The kubelet's files: its configuration and the flags that kubeadm's unit takes.
#[must_use]
pub fn kubelet(config: &MachineConfig, facts: &HostFacts) -> Vec<RenderedFile> {
    let mut configuration = cluster_configuration(config);
    if facts.resolv_conf_stub {
        configuration["resolvConf"] = RESOLV_CONF.into();
    }
    if !gates::KUBELET_RUNTIME_ENDPOINT_FLAG.holds(*config.kubernetes_version()) {
        configuration["containerRuntimeEndpoint"] = CONTAINERD_SOCKET.into();
    }
    merge(
        &mut configuration,
        &Value::Object(config.kubelet().extra_config.clone()),
    );
    let flags = flags(config, facts)
        .into_iter()
        .map(|flag| escape(&flag))
        .collect::<Vec<_>>();
    vec![
        RenderedFile::public(CONFIG, to_yaml(&configuration)),
        RenderedFile::public(
            FLAGS,
            format!("KUBELET_KUBEADM_ARGS=\"{}\"\n", flags.join(" ")),
        ),
    ]
}

/// What holds for every kubelet of the cluster.
pub(super) fn cluster_configuration(config: &MachineConfig) -> Value {
    let version = *config.kubernetes_version();
    let mut configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": format!("{PKI}/ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        // containerd is told the same; two managers of one cgroup tree lose pods.
        "cgroupDriver": "systemd",
        "clusterDNS": dns_address(config).map(|ip| vec![ip.to_string()]),
        "clusterDomain": config.dns_domain(),
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "rotateCertificates": true,
        "staticPodPath": MANIFESTS,
        "volumePluginDir": FLEXVOLUMES,
    });
    if needs_dual_stack_gate(config) {
        configuration["featureGates"] = json!({ "IPv6DualStack": true });
    }
    if gates::KUBELET_FAIL_CGROUP_V1.holds(version) {
        configuration["failCgroupV1"] = true.into();
    }
    if gates::KUBELET_GRACEFUL_SHUTDOWN.holds(version) {
        // Ordinary pods have 20 of these seconds, then the control plane and the network 10.
        configuration["shutdownGracePeriod"] = "30s".into();
        configuration["shutdownGracePeriodCriticalPods"] = "10s".into();
    }
    configuration
}

/// The address of the cluster's DNS service.
pub(super) fn dns_address(config: &MachineConfig) -> Option<IpAddr> {
    let first = config.service_subnets().first()?;
    match first.network() {
        IpAddr::V4(base) => {
            Some(std::net::Ipv4Addr::from(u32::from(base) + u32::from(DNS_ADDRESS)).into())
        }
        IpAddr::V6(base) => {
            Some(std::net::Ipv6Addr::from(u128::from(base) + u128::from(DNS_ADDRESS)).into())
        }
    }
    .filter(|address| first.contains(address))
}

fn flags(config: &MachineConfig, facts: &HostFacts) -> Vec<String> {
    let version = *config.kubernetes_version();
    let kubelet = config.kubelet();
    let mut args = Args::new();
    if gates::KUBELET_RUNTIME_ENDPOINT_FLAG.holds(version) {
        args.set("container-runtime-endpoint", CONTAINERD_SOCKET);
    }
    args.set_if(
        gates::KUBELET_CONTAINER_RUNTIME.holds(version),
        "container-runtime",
        "remote",
    );
    // The node keeps its name even while DHCP or a missing /etc/hostname gives the host another.
    args.set("hostname-override", config.hostname().as_str());
    args.set("node-ip", node_ips(config, facts));
    let labels: Vec<String> = kubelet
        .labels
        .iter()
        .filter(|(key, _)| kubelet_may_set(key))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    args.set_if(!labels.is_empty(), "node-labels", join(labels));
    if gates::KUBELET_POD_INFRA_IMAGE.holds(version) {
        args.set(
            "pod-infra-container-image",
            &config.containerd().sandbox_image,
        );
    }
    let taints = taints(config);
    args.set_if(!taints.is_empty(), "register-with-taints", join(taints));
    args.finish(&kubelet.extra_args, version)
}

fn node_ips(config: &MachineConfig, facts: &HostFacts) -> String {
    // A document that names one address leaves the other family's to be found: without it the node
    // has no way for that family's pods.
    let first = config.kubelet().node_ip.unwrap_or(facts.node_ip);
    let has = |v4: bool| {
        config
            .pod_subnets()
            .iter()
            .any(|net: &IpNet| net.addr().is_ipv4() == v4)
    };
    let second = choose_second_ip(config, facts).filter(|second| {
        second.is_ipv4() != first.is_ipv4()
            && has(true)
            && has(false)
            && gates::KUBELET_TWO_NODE_IPS.holds(*config.kubernetes_version())
    });
    join([Some(first), second].into_iter().flatten())
}

/// For a double-quoted value in a systemd environment file.
fn escape(flag: &str) -> String {
    let mut escaped = String::with_capacity(flag.len());
    for letter in flag.chars() {
        if matches!(letter, '"' | '\\' | '`' | '$') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// RFC 7396: objects merge, null removes, anything else replaces, lists whole.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(object) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            object.shift_remove(key);
        } else {
            merge(object.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_as_rfc_7396_says() {
        let mut target = json!({ "a": { "b": 1, "c": 2 }, "list": [1, 2], "gone": true });
        merge(
            &mut target,
            &json!({ "a": { "c": null, "d": {} }, "list": [3], "gone": null }),
        );
        assert_eq!(target, json!({ "a": { "b": 1, "d": {} }, "list": [3] }));
    }

    #[test]
    fn a_kubelet_asks_for_a_serving_certificate_only_where_that_is_said() {
        let document =
            include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");
        let asks = |words: &str| {
            let words = format!("machine:\n{words}");
            let document = document.replacen("machine:\n", &words, 1);
            let config = machine_config::read(document.as_bytes()).unwrap().config;
            let facts = HostFacts::at("10.0.2.15".parse().unwrap());
            let files = kubelet(&config, &facts);
            let text = files[0].content.expose();
            assert_eq!(files[0].path, CONFIG);
            text.contains("\nserverTLSBootstrap: true\n")
        };
        assert!(!asks(""), "as kubeadm's kubelets");
        let word = "  kubelet: {extraConfig: {serverTLSBootstrap: true}}\n";
        assert!(asks(word));
    }
}
