//! The objects in the cluster, as fields to compare.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Fields, fields_of, flatten, kubeadms, support, yaml};

/// Fields the API server fills in by itself, or that are of one cluster only.
const SERVERS: &[&str] = &[
    "creationTimestamp",
    "resourceVersion",
    "metadata.uid",
    "metadata.generation",
    "status.",
    "deprecated.daemonset.template.generation",
    "deployment.kubernetes.io/revision",
    "revisionHistoryLimit",
    "progressDeadlineSeconds",
    "rollingUpdate.maxSurge",
    "updateStrategy.rollingUpdate",
    "template.spec.restartPolicy",
    "template.spec.schedulerName",
    "template.spec.serviceAccount",
    "template.spec.terminationGracePeriodSeconds",
    "template.spec.dnsPolicy",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "defaultMode",
    "fieldRef.apiVersion",
    "Probe.failureThreshold",
    "Probe.periodSeconds",
    "Probe.successThreshold",
    "Probe.timeoutSeconds",
    "ports[",
    "spec.clusterIPs",
    "sessionAffinity",
    "spec.type",
    "secrets[",
];

/// Text in a ConfigMap that is itself YAML.
const EMBEDDED: &[&str] = &[
    "kubeconfig",
    "config.conf",
    "kubeconfig.conf",
    "kubelet",
    "ClusterConfiguration",
];

fn identity(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let place = [
        text(&object["kind"]),
        text(&metadata["namespace"]),
        text(&metadata["name"]),
    ];
    place.join("/")
}

fn fields(object: &Value) -> Fields {
    let mut object = object.clone();
    let mut fields = Fields::new();
    for key in EMBEDDED {
        if let Some(text) = object["data"][*key].as_str().map(str::to_owned) {
            let mut value = yaml(&text);
            if let Some(cluster) = value.pointer_mut("/clusters/0/cluster") {
                let authority = "certificate-authority-data";
                if cluster[authority].is_string() {
                    cluster[authority] = "*".into();
                }
            }
            flatten(&format!("data.{key}"), &value, &mut fields);
            object["data"][*key] = Value::Null;
        }
    }
    if object["kind"] == "Secret" {
        object["data"]["expiration"] = "*".into();
    }
    fields.extend(fields_of(&object));
    // The component's configuration is compared on its own; there, every `false` is no value.
    fields.retain(|path, value| !(path.starts_with("data.config.conf") && value == "false"));
    fields
}

/// `(kind/namespace/name, kubeadm's fields, our fields)`.
pub(crate) fn compared(config_text: &str, registry: &str) -> Vec<(String, Fields, Fields)> {
    let mut theirs = BTreeMap::new();
    let text = kubeadms("objects.json").replace("k8s.gcr.io", "REGISTRY");
    for document in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        let document = document.unwrap();
        let items = document["items"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![document]);
        theirs.extend(
            items
                .iter()
                .map(|object| (identity(object), fields(object))),
        );
    }
    let mut ours = BTreeMap::new();
    for object in support::objects(&support::config(config_text)) {
        let text = object.to_string().replace(registry, "REGISTRY");
        let object: Value = serde_json::from_str(&text).unwrap();
        ours.insert(identity(&object), fields(&object));
    }
    let names: Vec<String> = theirs
        .keys()
        .chain(ours.keys().filter(|name| !theirs.contains_key(*name)))
        .cloned()
        .collect();
    let present = || Fields::from([("(object)".to_owned(), "present".to_owned())]);
    let take = |name: String| {
        let (Some(mut theirs), Some(ours)) = (theirs.get(&name).cloned(), ours.get(&name).cloned())
        else {
            let of = |side: &BTreeMap<String, Fields>| {
                if side.contains_key(&name) {
                    present()
                } else {
                    Fields::new()
                }
            };
            let (theirs, ours) = (of(&theirs), of(&ours));
            return (name, theirs, ours);
        };
        theirs.retain(|path, _| {
            ours.contains_key(path) || !SERVERS.iter().any(|part| path.contains(part))
        });
        (name, theirs, ours)
    };
    names.into_iter().map(take).collect()
}
