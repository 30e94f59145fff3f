//! kube-proxy.

use machine_config::{ComponentSource, MachineConfig};
use serde_json::{Value, json};

use super::rbac::{account, cluster_binding, group, reader};
use super::{JOINING_NODES, SYSTEM, config_map, service_account};
use crate::render::images::{self, Program};
use crate::render::static_pods::needs_dual_stack_gate;
use crate::render::{api_url, join, to_yaml};

const NAME: &str = "kube-proxy";
const DIRECTORY: &str = "/var/lib/kube-proxy";

pub(super) fn proxy(config: &MachineConfig) -> Vec<Value> {
    let mut objects = vec![
        service_account(NAME),
        cluster_binding(
            "kubeadm:node-proxier",
            "system:node-proxier",
            &[account(NAME)],
        ),
    ];
    objects.extend(reader(
        SYSTEM,
        NAME,
        ("configmaps", NAME),
        &[group(JOINING_NODES)],
    ));
    objects.push(configuration(config));
    objects.push(daemon_set(config));
    objects
}

fn configuration(config: &MachineConfig) -> Value {
    let is_v4 = config
        .service_subnets()
        .first()
        .is_none_or(|net| net.addr().is_ipv4());
    let mut proxy = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": if is_v4 { "0.0.0.0" } else { "::" },
        "clientConnection": { "kubeconfig": format!("{DIRECTORY}/kubeconfig.conf") },
        "clusterCIDR": join(config.pod_subnets()),
        // kubeadm leaves it out until 1.37, which means the same.
        "mode": "iptables",
    });
    if needs_dual_stack_gate(config) {
        proxy["featureGates"] = json!({ "IPv6DualStack": true });
    }
    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    // Only nodes of ours can run the image's own program, and each may have a load balancer; kubeadm's
    // run what a registry has.
    let server = match config.component_source() {
        ComponentSource::Embedded => api_url(config),
        ComponentSource::Registry(_) => config.control_plane_endpoint().url(),
    };
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "default",
            "cluster": {
                "certificate-authority": format!("{account}/ca.crt"),
                "server": server,
            },
        }],
        "contexts": [{
            "name": "default",
            "context": { "cluster": "default", "namespace": "default", "user": "default" },
        }],
        "current-context": "default",
        "users": [{ "name": "default", "user": { "tokenFile": format!("{account}/token") } }],
    });
    let data = json!({ "config.conf": to_yaml(&proxy), "kubeconfig.conf": to_yaml(&kubeconfig) });
    let mut object = config_map(SYSTEM, NAME, data);
    object["metadata"]["labels"] = json!({ "app": NAME });
    object
}

fn daemon_set(config: &MachineConfig) -> Value {
    let source = config.component_source();
    let mut program = images::component(source, NAME, *config.kubernetes_version());
    if !program.from_host {
        program.path = format!("/usr/local/bin/{NAME}");
    }
    let mut mounts = vec![
        json!({ "name": NAME, "mountPath": DIRECTORY }),
        json!({ "name": "xtables-lock", "mountPath": "/run/xtables.lock" }),
    ];
    let mut volumes = vec![
        json!({ "name": NAME, "configMap": { "name": NAME } }),
        host_path("xtables-lock", "/run/xtables.lock", Some("FileOrCreate")),
    ];
    let (name, path, kind) = host_directory(&program);
    mounts.push(json!({ "name": name, "mountPath": path, "readOnly": true }));
    volumes.push(host_path(name, path, kind));
    let labels = json!({ "k8s-app": NAME });
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": NAME, "namespace": SYSTEM, "labels": labels },
        "spec": {
            "selector": { "matchLabels": labels },
            "updateStrategy": { "type": "RollingUpdate" },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "priorityClassName": "system-node-critical",
                    "hostNetwork": true,
                    "serviceAccountName": NAME,
                    "nodeSelector": { "kubernetes.io/os": "linux" },
                    "tolerations": [
                        { "key": "CriticalAddonsOnly", "operator": "Exists" },
                        { "operator": "Exists" },
                    ],
                    "containers": [{
                        "name": NAME,
                        "image": program.image,
                        "imagePullPolicy": program.pull_policy,
                        "command": [
                            program.path,
                            format!("--config={DIRECTORY}/config.conf"),
                            "--hostname-override=$(NODE_NAME)",
                        ],
                        "env": [{
                            "name": "NODE_NAME",
                            "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } },
                        }],
                        "securityContext": { "privileged": true },
                        "volumeMounts": mounts,
                    }],
                    "volumes": volumes,
                },
            },
        },
    })
}

/// The host's `/usr` has the modules as well.
fn host_directory(program: &Program) -> (&'static str, &'static str, Option<&'static str>) {
    match program.from_host {
        true => ("usr", "/usr", Some("Directory")),
        false => ("lib-modules", "/lib/modules", None),
    }
}

fn host_path(name: &str, path: &str, kind: Option<&str>) -> Value {
    let mut source = json!({ "path": path });
    if let Some(kind) = kind {
        source["type"] = kind.into();
    }
    json!({ "name": name, "hostPath": source })
}
