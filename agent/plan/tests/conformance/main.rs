//! What we render for a cluster, compared with what kubeadm 1.20.2 wrote for the same one.
//!
//! Both sides are flattened to fields, each a path and a value; every field that differs must be
//! listed, with its reason, in `differences.rs`, and every difference listed there must occur.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests read fixtures and may panic"
)]

mod differences;
mod objects;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use differences::{DIFFERENCES, Difference};
use machine_config::MachineConfig;
use serde_json::Value;

type Fields = BTreeMap<String, String>;

/// The same cluster as in `kubeadm-1.20.2/kubeadm.yaml`.
const CONFIG: &str = "\
apiVersion: machined/v1
kind: MachineConfig
machine:
  role: controlplane
  hostname: cp1
cluster:
  name: demo
  id: 3f0c1d2e4b5a69788796a5b4c3d2e1f0
  controlPlaneEndpoint: 192.0.2.10:6443
  kubernetesVersion: v1.20.2
  networking:
    podSubnet: 10.244.0.0/16
    serviceSubnet: 10.96.0.0/12
    dnsDomain: cluster.local
  image: embedded
";

fn kubeadms(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/kubeadm-1.20.2");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn ours(config: &MachineConfig, path: &str) -> String {
    let files = support::files(config);
    let file = files.iter().find(|file| file.path == path);
    file.unwrap_or_else(|| panic!("{path} is not rendered"))
        .content
        .expose()
        .to_owned()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Go writes fields it has no value for; leaving them out means the same.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Object(map) => map.values().all(is_nothing),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) => false,
    }
}

/// Lists of named things are flattened by name, so that their order does not matter; arguments by
/// their flag.
fn flatten(path: &str, value: &Value, fields: &mut Fields) {
    if is_nothing(value) {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                flatten(&path, value, fields);
            }
        }
        Value::Array(items) if path.ends_with("command") => {
            let words = items.iter().map(|word| word.as_str().unwrap());
            flatten_command(path, words, fields);
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                let name = item["name"]
                    .as_str()
                    .map_or_else(|| place.to_string(), str::to_owned);
                flatten(&format!("{path}[{name}]"), item, fields);
            }
        }
        Value::String(text) => {
            fields.insert(path.to_owned(), text.clone());
        }
        scalar => {
            fields.insert(path.to_owned(), scalar.to_string());
        }
    }
}

fn flatten_command<'a>(path: &str, words: impl Iterator<Item = &'a str>, fields: &mut Fields) {
    for word in words {
        let (name, value) = match word.strip_prefix("--") {
            Some(flag) => flag.split_once('=').unwrap(),
            None => ("", word),
        };
        let known = fields.insert(format!("{path}[{name}]"), value.to_owned());
        assert!(known.is_none(), "{name} is given twice");
    }
}

fn fields_of(value: &Value) -> Fields {
    let mut fields = Fields::new();
    flatten("", value, &mut fields);
    fields
}

/// The flags in a kubeadm-flags.env.
fn flags(text: &str) -> Fields {
    let line = text.trim().strip_prefix("KUBELET_KUBEADM_ARGS=\"").unwrap();
    let mut fields = Fields::new();
    flatten_command("", line.strip_suffix('"').unwrap().split(' '), &mut fields);
    fields
}

const REGISTRY: &str = "registry.example.org";

/// `(file, kubeadm's fields, our fields)`.
fn compared() -> Vec<(String, Fields, Fields)> {
    let config = support::config(CONFIG);
    let from_registry = CONFIG.replace("embedded", REGISTRY);
    let mut compared = Vec::new();
    for (suffix, text) in [("", CONFIG), (" from a registry", from_registry.as_str())] {
        let config = support::config(text);
        for name in [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        ] {
            let file = format!("{name}.yaml");
            let ours = ours(&config, &format!("/etc/kubernetes/manifests/{file}"));
            let ours = ours.replace(REGISTRY, "REGISTRY");
            let theirs = kubeadms(&file).replace("k8s.gcr.io", "REGISTRY");
            let fields = (fields_of(&yaml(&theirs)), fields_of(&yaml(&ours)));
            compared.push((format!("{name}{suffix}"), fields.0, fields.1));
        }
    }
    let kubelet = ours(&config, "/var/lib/kubelet/config.yaml");
    let theirs = kubeadms("kubelet-config.yaml");
    compared.push((
        "kubelet".to_owned(),
        fields_of(&yaml(&theirs)),
        fields_of(&yaml(&kubelet)),
    ));

    let environment = ours(&config, "/var/lib/kubelet/kubeadm-flags.env");
    compared.push((
        "kubelet flags".to_owned(),
        flags(&kubeadms("kubeadm-flags.env")),
        flags(&environment),
    ));

    let objects = support::objects(&config);
    let proxy = objects
        .iter()
        .find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == "kube-proxy");
    let proxy = yaml(proxy.unwrap()["data"]["config.conf"].as_str().unwrap());
    let mut theirs = fields_of(&yaml(&kubeadms("kube-proxy-config.yaml")));
    // Of this type every `false` is a field without a value.
    theirs.retain(|_, value| value != "false");
    compared.push(("kube-proxy".to_owned(), theirs, fields_of(&proxy)));
    compared.extend(objects::compared(&from_registry, REGISTRY));
    compared
}

type Found = (String, String, Option<String>, Option<String>);

/// Fields whose value says nothing but that it is there: `*`.
const HASHES: &[&str] = &[
    "metadata.uid",
    "metadata.annotations.kubeadm.kubernetes.io/component-config.hash",
    "data.ClusterStatus",
];

fn found() -> BTreeSet<Found> {
    let mut found = BTreeSet::new();
    for (file, theirs, ours) in compared() {
        for path in theirs.keys().chain(ours.keys()) {
            let value = |side: &Fields| {
                let value = side.get(path)?;
                Some(
                    if HASHES.contains(&path.as_str()) {
                        "*"
                    } else {
                        value
                    }
                    .to_owned(),
                )
            };
            let (theirs, ours) = (value(&theirs), value(&ours));
            if theirs != ours {
                found.insert((file.clone(), path.clone(), theirs, ours));
            }
        }
    }
    found
}

fn listed() -> Vec<Found> {
    let mut listed = Vec::new();
    for Difference {
        files,
        field,
        kubeadm,
        ours,
        reason,
    } in DIFFERENCES
    {
        assert!(reason.len() > 20, "{field}: say why");
        for file in *files {
            let component = file.split(' ').next().unwrap();
            let fill = |text: &str| text.replace("{}", component);
            listed.push((
                (*file).to_owned(),
                fill(field),
                kubeadm.map(fill),
                ours.map(fill),
            ));
        }
    }
    listed
}

#[test]
fn every_difference_from_kubeadm_is_listed_with_its_reason_and_none_is_stale() {
    let found = found();
    let listed_in_order = listed();
    let listed: BTreeSet<Found> = listed_in_order.iter().cloned().collect();
    assert_eq!(
        listed.len(),
        listed_in_order.len(),
        "a difference is listed twice"
    );
    let unlisted: Vec<_> = found.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&found).collect();
    assert!(
        unlisted.is_empty() && stale.is_empty(),
        "not listed (file, field, kubeadm, ours): {unlisted:#?}\nlisted but not so: {stale:#?}"
    );
}

#[test]
fn the_comparison_sees_everything() {
    let compared = compared();
    let theirs: BTreeMap<_, _> = compared
        .iter()
        .map(|(file, theirs, _)| (file.as_str(), theirs))
        .collect();
    let flags = |file: &str| {
        let is_flag = |path: &&String| path.contains(".command[") && !path.ends_with("[]");
        theirs[file].keys().filter(is_flag).count()
    };
    // As counted by hand: a comparison that lost its fields would pass for ever.
    assert_eq!(flags("kube-apiserver"), 28);
    assert_eq!(flags("etcd"), 17);
    assert_eq!(flags("kube-scheduler"), 6);
    assert!(theirs["kubelet"].len() >= 10 && theirs["kube-proxy"].len() >= 4);
    assert!(compared.len() >= 40, "the objects are gone");
}
