//! Who may do what.

use machine_config::{MachineConfig, NetworkAddon};
use serde_json::{Value, json};

use super::{JOINING_NODES, NODES, PUBLIC, SYSTEM};
use crate::render::gates;

const RBAC: &str = "rbac.authorization.k8s.io";
const RBAC_V1: &str = "rbac.authorization.k8s.io/v1";

/// The roles and bindings that stand apart from what they give access to.
pub(super) fn access(config: &MachineConfig) -> Vec<Value> {
    let version = *config.kubernetes_version();
    let mut objects = Vec::new();
    if gates::CLUSTER_ADMINS_GROUP.holds(version) {
        let name = "kubeadm:cluster-admins";
        objects.push(cluster_binding(name, "cluster-admin", &[group(name)]));
    }
    // kubeadm has it from 1.37 (and late patches before). Without it an API server whose client
    // certificate has no group gets 403 from every kubelet; it does no harm to older ones.
    objects.push(cluster_binding(
        "kubeadm:apiserver-kubelet-client",
        "system:kubelet-api-admin",
        &[user("kube-apiserver-kubelet-client")],
    ));
    let joining = [group(JOINING_NODES)];
    objects.push(cluster_binding(
        "kubeadm:kubelet-bootstrap",
        "system:node-bootstrapper",
        &joining,
    ));
    objects.push(cluster_binding(
        "kubeadm:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &joining,
    ));
    objects.push(cluster_binding(
        "kubeadm:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[group(NODES)],
    ));
    objects.push(json!({
        "apiVersion": RBAC_V1,
        "kind": "ClusterRole",
        "metadata": { "name": "kubeadm:get-nodes" },
        "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }],
    }));
    objects.push(cluster_binding(
        "kubeadm:get-nodes",
        "kubeadm:get-nodes",
        &joining,
    ));
    if gates::NODES_SEE_THEMSELVES_ONLY.holds(version)
        && matches!(config.network_addon(), NetworkAddon::Bridge)
    {
        // The built-in network's agent on a worker makes routes to all nodes' pods.
        let name = "machined:read-nodes";
        objects.push(json!({
            "apiVersion": RBAC_V1,
            "kind": "ClusterRole",
            "metadata": { "name": name },
            "rules": [{
                "apiGroups": [""],
                "resources": ["nodes"],
                "verbs": ["get", "list", "watch"],
            }],
        }));
        objects.push(cluster_binding(name, name, &[group(NODES)]));
    }
    objects.extend(reader(
        SYSTEM,
        "kubeadm:kubeadm-certs",
        ("secrets", "kubeadm-certs"),
        &joining,
    ));
    objects.extend(reader(
        PUBLIC,
        "kubeadm:bootstrap-signer-clusterinfo",
        ("configmaps", "cluster-info"),
        &[user("system:anonymous")],
    ));
    objects
}

/// A role to get one object, and its binding.
pub(super) fn reader(
    namespace: &str,
    name: &str,
    (resources, object): (&str, &str),
    subjects: &[Value],
) -> [Value; 2] {
    let metadata = json!({ "name": name, "namespace": namespace });
    [
        json!({
            "apiVersion": RBAC_V1,
            "kind": "Role",
            "metadata": metadata,
            "rules": [{
                "apiGroups": [""],
                "resources": [resources],
                "resourceNames": [object],
                "verbs": ["get"],
            }],
        }),
        json!({
            "apiVersion": RBAC_V1,
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": name },
            "subjects": subjects,
        }),
    ]
}

pub(super) fn cluster_binding(name: &str, role: &str, subjects: &[Value]) -> Value {
    json!({
        "apiVersion": RBAC_V1,
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": role },
        "subjects": subjects,
    })
}

pub(super) fn cluster_role(name: &str, rules: Value) -> Value {
    json!({
        "apiVersion": RBAC_V1,
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules,
    })
}

pub(super) fn group(name: &str) -> Value {
    json!({ "apiGroup": RBAC, "kind": "Group", "name": name })
}

fn user(name: &str) -> Value {
    json!({ "apiGroup": RBAC, "kind": "User", "name": name })
}

/// A service account of kube-system.
pub(super) fn account(name: &str) -> Value {
    json!({ "kind": "ServiceAccount", "name": name, "namespace": SYSTEM })
}
