//! CoreDNS, where its image can be had.

use machine_config::MachineConfig;
use serde_json::{Value, json};

use super::rbac::{account, cluster_binding, cluster_role};
use super::{SYSTEM, config_map, service_account};
use crate::render::kubelet::dns_address;
use crate::render::marks::role_keys;
use crate::render::{gates, images};

const NAME: &str = "coredns";
const ROLE: &str = "system:coredns";

pub(super) fn coredns(config: &MachineConfig, prefix: &str) -> Vec<Value> {
    let version = *config.kubernetes_version();
    let mut rules = vec![json!({
        "apiGroups": [""],
        "resources": ["endpoints", "services", "pods", "namespaces"],
        "verbs": ["list", "watch"],
    })];
    if gates::COREDNS_ENDPOINT_SLICES.holds(version) {
        rules.push(json!({
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        }));
    } else {
        rules.push(json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }));
    }
    let corefile = corefile(config.dns_domain());
    vec![
        service_account(NAME),
        cluster_role(ROLE, rules.into()),
        cluster_binding(ROLE, ROLE, &[account(NAME)]),
        config_map(SYSTEM, NAME, json!({ "Corefile": corefile })),
        deployment(config, prefix),
        service(config),
    ]
}

fn corefile(domain: &str) -> String {
    format!(
        ".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30
    loop
    reload
    loadbalance
}}
"
    )
}

fn deployment(config: &MachineConfig, prefix: &str) -> Value {
    let version = *config.kubernetes_version();
    let labels = json!({ "k8s-app": "kube-dns" });
    let mut tolerations = vec![json!({ "key": "CriticalAddonsOnly", "operator": "Exists" })];
    for key in role_keys(version) {
        tolerations.push(json!({ "key": key, "effect": "NoSchedule" }));
    }
    let mut pod = json!({
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": NAME,
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "tolerations": tolerations,
        "containers": [container(images::coredns(prefix, version))],
        "dnsPolicy": "Default",
        "volumes": [{
            "name": "config-volume",
            "configMap": { "name": NAME, "items": [{ "key": "Corefile", "path": "Corefile" }] },
        }],
    });
    if gates::COREDNS_ANTI_AFFINITY.holds(version) {
        let expression = json!({ "key": "k8s-app", "operator": "In", "values": ["kube-dns"] });
        pod["affinity"] = json!({ "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{
                "weight": 100,
                "podAffinityTerm": {
                    "labelSelector": { "matchExpressions": [expression] },
                    "topologyKey": "kubernetes.io/hostname",
                },
            }],
        } });
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": NAME, "namespace": SYSTEM, "labels": labels },
        "spec": {
            "replicas": 2,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    })
}

fn container(image: String) -> Value {
    json!({
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {
            "limits": { "memory": "170Mi" },
            "requests": { "cpu": "100m", "memory": "70Mi" },
        },
        "ports": [
            { "name": "dns", "containerPort": 53, "protocol": "UDP" },
            { "name": "dns-tcp", "containerPort": 53, "protocol": "TCP" },
            { "name": "metrics", "containerPort": 9153, "protocol": "TCP" },
        ],
        "livenessProbe": {
            "httpGet": { "path": "/health", "port": 8080, "scheme": "HTTP" },
            "initialDelaySeconds": 60,
            "timeoutSeconds": 5,
            "successThreshold": 1,
            "failureThreshold": 5,
        },
        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8181, "scheme": "HTTP" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        },
        "volumeMounts": [
            { "name": "config-volume", "mountPath": "/etc/coredns", "readOnly": true },
        ],
    })
}

fn service(config: &MachineConfig) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": SYSTEM,
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
            "annotations": { "prometheus.io/port": "9153", "prometheus.io/scrape": "true" },
        },
        "spec": {
            "clusterIP": dns_address(config).map(|ip| ip.to_string()),
            "ports": [
                { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53 },
                { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53 },
                { "name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153 },
            ],
            "selector": { "k8s-app": "kube-dns" },
        },
    })
}
