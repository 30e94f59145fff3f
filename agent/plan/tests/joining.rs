//! What a stock `kubeadm join` of each version reads of a cluster, and who it is when it does.
//!
//! The names are those that kubeadm asks for; a real one of 1.20 is asked in `just adapters`.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::collections::BTreeSet;

use machine_config::KubernetesVersion;
use serde_json::Value;

const CONFIG: &str = include_str!("golden/v1.20.2-controlplane/config.yaml");
/// Whoever shows a token.
const JOINING: &str = "system:bootstrappers:kubeadm:default-node-token";
const NODES: &str = "system:nodes";
const ANYBODY: &str = "system:anonymous";

type Row = (
    u16,
    u16,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

/// `(first minor, first minor without it, namespace, ConfigMap, its key, who reads it)`.
const READ: &[Row] = &[
    (
        20,
        99,
        "kube-public",
        "cluster-info",
        "kubeconfig",
        &[ANYBODY],
    ),
    (
        20,
        99,
        "kube-system",
        "kubeadm-config",
        "ClusterConfiguration",
        &[JOINING, NODES],
    ),
    (
        20,
        21,
        "kube-system",
        "kubelet-config-1.20",
        "kubelet",
        &[JOINING, NODES],
    ),
    (
        21,
        22,
        "kube-system",
        "kubelet-config-1.21",
        "kubelet",
        &[JOINING, NODES],
    ),
    (
        22,
        23,
        "kube-system",
        "kubelet-config-1.22",
        "kubelet",
        &[JOINING, NODES],
    ),
    // 1.23 asks for the name without a minor first, is refused, and asks for this one.
    (
        23,
        24,
        "kube-system",
        "kubelet-config-1.23",
        "kubelet",
        &[JOINING, NODES],
    ),
    (
        24,
        99,
        "kube-system",
        "kubelet-config",
        "kubelet",
        &[JOINING, NODES],
    ),
    (
        20,
        99,
        "kube-system",
        "kube-proxy",
        "config.conf",
        &[JOINING],
    ),
];

/// The roles of the whole cluster that a join needs, and who has them.
const BOUND: &[(&str, &str)] = &[
    ("system:node-bootstrapper", JOINING),
    (
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        JOINING,
    ),
    (
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        NODES,
    ),
    ("kubeadm:get-nodes", JOINING),
];

fn objects(minor: u16) -> Vec<Value> {
    let text = CONFIG.replace("v1.20.2", &format!("v1.{minor}.3"));
    support::objects(&support::config(&text))
}

fn versions() -> impl Iterator<Item = u16> {
    KubernetesVersion::OLDEST_MINOR..=KubernetesVersion::NEWEST_MINOR
}

fn subjects(binding: &Value) -> BTreeSet<&str> {
    let list = binding["subjects"].as_array().unwrap().iter();
    list.map(|subject| subject["name"].as_str().unwrap())
        .collect()
}

/// Who may read a ConfigMap by the roles and bindings of its namespace.
fn readers<'a>(objects: &'a [Value], namespace: &str, map: &str) -> BTreeSet<&'a str> {
    let here = |kind: &'static str| {
        let is = move |object: &&Value| object["kind"] == kind;
        let there = objects.iter().filter(is);
        there.filter(|object| object["metadata"]["namespace"] == namespace)
    };
    let reads = |role: &&Value| {
        let rule = &role["rules"][0];
        rule["resources"][0] == "configmaps"
            && rule["resourceNames"][0] == map
            && rule["verbs"][0] == "get"
    };
    let roles: Vec<_> = here("Role")
        .filter(reads)
        .map(|role| &role["metadata"]["name"])
        .collect();
    let binds = |binding: &&Value| roles.contains(&&binding["roleRef"]["name"]);
    here("RoleBinding")
        .filter(binds)
        .flat_map(subjects)
        .collect()
}

#[test]
fn every_version_finds_what_it_reads_and_may_read_it() {
    for minor in versions() {
        let objects = objects(minor);
        for (_, _, namespace, name, key, who) in
            READ.iter().filter(|read| (read.0..read.1).contains(&minor))
        {
            let map = objects.iter().find(|object| {
                let metadata = &object["metadata"];
                object["kind"] == "ConfigMap"
                    && metadata["namespace"] == *namespace
                    && metadata["name"] == *name
            });
            let map = map.unwrap_or_else(|| panic!("1.{minor}: no {name}"));
            let text = map["data"][*key].as_str();
            let text = text.unwrap_or_else(|| panic!("1.{minor}: {name} has no {key}"));
            serde_saphyr::from_str::<Value>(text).unwrap();
            let may = readers(&objects, namespace, name);
            assert_eq!(may, who.iter().copied().collect(), "1.{minor}: {name}");
        }
        for (role, who) in BOUND {
            let bound = objects.iter().any(|object| {
                object["kind"] == "ClusterRoleBinding"
                    && object["roleRef"]["name"] == *role
                    && subjects(object).contains(who)
            });
            assert!(bound, "1.{minor}: {who} has not {role}");
        }
    }
}

#[test]
fn every_version_can_decode_its_own_cluster_configuration() {
    for minor in versions() {
        let objects = objects(minor);
        let map = objects
            .iter()
            .find(|o| o["metadata"]["name"] == "kubeadm-config")
            .unwrap();
        let text = map["data"]["ClusterConfiguration"].as_str().unwrap();
        let found: Value = serde_saphyr::from_str(text).unwrap();
        // What the kubeadm of that minor decodes; the others it refuses.
        let expected = match minor {
            20..=21 => &["v1beta2"][..],
            22..=26 => &["v1beta2", "v1beta3"],
            27..=30 => &["v1beta3"],
            31..=36 => &["v1beta3", "v1beta4"],
            _ => &["v1beta4"],
        };
        let version = found["apiVersion"].as_str().unwrap();
        let known = expected
            .iter()
            .any(|v| version == format!("kubeadm.k8s.io/{v}"));
        assert!(known, "1.{minor}: {version}");
        assert_eq!(found["kubernetesVersion"], format!("v1.{minor}.3"));
        assert_eq!(found["controlPlaneEndpoint"], "192.0.2.10:6443");
    }
}

#[test]
fn no_machine_is_told_another_machines_resolv_conf() {
    for minor in versions() {
        let objects = objects(minor);
        let name = |object: &&Value| {
            let name = object["metadata"]["name"].as_str().unwrap();
            object["kind"] == "ConfigMap" && name.starts_with("kubelet-config")
        };
        let map = objects.iter().find(name).unwrap();
        let text = map["data"]["kubelet"].as_str().unwrap();
        assert!(!text.contains("resolvConf"), "1.{minor}");
    }
}
