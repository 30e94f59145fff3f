//! The pod around a control-plane component, as kubeadm builds it.

use std::collections::BTreeMap;
use std::time::Duration;

use machine_config::{HostVolume, MachineConfig};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::gates;
use super::images::Program;
use super::yaml::to_yaml;
use crate::files::RenderedFile;

/// The kubelet's static pods.
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// The name that probes give their port from 1.34.
const PROBE_PORT: &str = "probe-port";
/// The value of the class `system-node-critical`.
const SYSTEM_NODE_CRITICAL: u32 = 2_000_001_000;

/// Host paths of a pod, one volume and one mount each, sorted by name as kubeadm does.
#[derive(Debug, Clone, Default)]
pub(super) struct Mounts(BTreeMap<String, HostVolume>);

impl Mounts {
    /// The same path inside and outside.
    pub(super) fn add(
        &mut self,
        name: &str,
        path: &str,
        read_only: bool,
        kind: machine_config::PathType,
    ) {
        self.insert(HostVolume {
            name: name.to_owned(),
            host_path: path.to_owned(),
            mount_path: path.to_owned(),
            read_only,
            path_type: Some(kind),
        });
    }

    /// The user's volumes; one that has a default's name replaces it.
    pub(super) fn extend(&mut self, volumes: &[HostVolume]) {
        for volume in volumes {
            self.insert(volume.clone());
        }
    }

    fn insert(&mut self, volume: HostVolume) {
        self.0.insert(volume.name.clone(), volume);
    }

    fn mounts(&self) -> Vec<Value> {
        let mount = |volume: &HostVolume| {
            let mut mount = json!({ "name": volume.name, "mountPath": volume.mount_path });
            if volume.read_only {
                mount["readOnly"] = true.into();
            }
            mount
        };
        self.0.values().map(mount).collect()
    }

    fn volumes(&self) -> Vec<Value> {
        let volume = |volume: &HostVolume| {
            let mut path = json!({ "path": volume.host_path });
            if let Some(kind) = volume.path_type {
                path["type"] = kind.as_str().into();
            }
            json!({ "name": volume.name, "hostPath": path })
        };
        self.0.values().map(volume).collect()
    }
}

/// Where a component answers to probes.
#[derive(Debug, Clone)]
pub(super) struct Probes {
    /// An address, or nothing for the pod's own.
    pub(super) host: Option<String>,
    /// The port.
    pub(super) port: u16,
    /// `HTTP` or `HTTPS`.
    pub(super) scheme: &'static str,
    /// Path of the liveness probe.
    pub(super) live: &'static str,
    /// Path of the readiness probe, where there is one.
    pub(super) ready: Option<&'static str>,
    /// Path of the startup probe.
    pub(super) startup: &'static str,
}

/// One control-plane component.
#[derive(Debug, Clone)]
pub(super) struct Component {
    /// Name of pod, container and file.
    pub(super) name: &'static str,
    /// What runs.
    pub(super) program: Program,
    /// Its arguments.
    pub(super) args: Vec<String>,
    /// Its host paths.
    pub(super) mounts: Mounts,
    /// Its probes.
    pub(super) probes: Probes,
    /// Its resource requests.
    pub(super) requests: Vec<(&'static str, &'static str)>,
    /// Annotations of the pod.
    pub(super) annotations: Vec<(&'static str, String)>,
}

impl Component {
    /// The manifest's file. Cluster and node make the pod this node's.
    #[must_use]
    pub(super) fn file(mut self, config: &MachineConfig) -> RenderedFile {
        let owner = (config.cluster_id(), config.hostname().as_str());
        if self.program.from_host {
            let kind = machine_config::PathType::Directory;
            self.mounts.add("usr", "/usr", true, kind);
        }
        let path = format!("{MANIFESTS}/{}.yaml", self.name);
        let mut pod = self.pod(config);
        let uid = uid(&pod, owner, self.name);
        pod["metadata"]["uid"] = uid.into();
        RenderedFile::private(path, to_yaml(&pod))
    }

    fn pod(&self, config: &MachineConfig) -> Value {
        let version = *config.kubernetes_version();
        let mut metadata = json!({
            "name": self.name,
            "namespace": "kube-system",
            "uid": "",
            "labels": { "component": self.name, "tier": "control-plane" },
        });
        if !self.annotations.is_empty() {
            let annotations = self.annotations.iter();
            metadata["annotations"] = annotations
                .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str())))
                .collect::<Map<_, _>>()
                .into();
        }
        let mut spec = json!({ "containers": [self.container(config)], "hostNetwork": true });
        if gates::POD_PRIORITY.holds(version) {
            spec["priority"] = SYSTEM_NODE_CRITICAL.into();
        }
        spec["priorityClassName"] = "system-node-critical".into();
        if gates::SECCOMP_DEFAULT.holds(version) {
            spec["securityContext"] = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
        }
        spec["volumes"] = self.mounts.volumes().into();
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
    }

    fn container(&self, config: &MachineConfig) -> Value {
        let mut command = vec![self.program.path.clone()];
        command.extend(self.args.iter().cloned());
        let requests: Map<String, Value> = self
            .requests
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), Value::from(*amount)))
            .collect();
        let mut container = json!({
            "name": self.name,
            "image": self.program.image,
            "imagePullPolicy": self.program.pull_policy,
            "command": command,
        });
        let named = gates::NAMED_PROBE_PORT.holds(*config.kubernetes_version());
        if named {
            let port = self.probes.port;
            container["ports"] =
                json!([{ "name": PROBE_PORT, "containerPort": port, "protocol": "TCP" }]);
        }
        container["resources"] = json!({ "requests": requests });
        for (name, probe) in self.probes.all(named, config.start_timeout()) {
            container[name] = probe;
        }
        container["volumeMounts"] = self.mounts.mounts().into();
        container
    }
}

impl Probes {
    /// kubeadm's timings, also in how the startup probe's failures follow from the patience with a
    /// control plane that comes up.
    fn all(&self, named: bool, patience: Duration) -> Vec<(&'static str, Value)> {
        let mut probes = vec![("livenessProbe", self.probe(self.live, named, 10, 8, 10))];
        if let Some(ready) = self.ready {
            probes.push(("readinessProbe", self.probe(ready, named, 0, 3, 1)));
        }
        let failures = u32::try_from(patience.as_secs().div_ceil(10)).unwrap_or(u32::MAX);
        probes.push((
            "startupProbe",
            self.probe(self.startup, named, 10, failures, 10),
        ));
        probes
    }

    fn probe(&self, path: &str, named: bool, delay: u32, failures: u32, period: u32) -> Value {
        let mut get = Map::new();
        if let Some(host) = &self.host {
            get.insert("host".to_owned(), host.as_str().into());
        }
        get.insert("path".to_owned(), path.into());
        let port = if named {
            PROBE_PORT.into()
        } else {
            self.port.into()
        };
        get.insert("port".to_owned(), port);
        get.insert("scheme".to_owned(), self.scheme.into());
        let mut probe = json!({ "httpGet": get });
        if delay > 0 {
            probe["initialDelaySeconds"] = delay.into();
        }
        probe["timeoutSeconds"] = 15.into();
        probe["failureThreshold"] = failures.into();
        probe["periodSeconds"] = period.into();
        probe
    }
}

/// An address a probe can dial: an unspecified bind address cannot be dialled, so the kubelet is
/// left to take the pod's.
#[must_use]
pub(super) fn dialable(bind: &str) -> Option<String> {
    (!matches!(bind, "0.0.0.0" | "::")).then(|| bind.to_owned())
}

/// The pod's UID: 32 hex digits, as the kubelet itself makes them, but from what is written here.
///
/// The kubelet's own UID is a hash over its Go structs, so an upgraded kubelet takes an unchanged
/// file for a new pod and restarts the control plane. A UID that never changes is no cure: the
/// kubelet then never refreshes the mirror pod, and from 1.31 does not even restart the container
/// when only its arguments changed. So: the same content has the same UID for ever, and other
/// content has another.
fn uid(pod: &Value, owner: (&str, &str), component: &str) -> String {
    let mut hash = Sha256::new();
    for part in [owner.0, owner.1, component, &to_yaml(pod)] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    data_encoding::HEXLOWER.encode(&hash.finalize()[..16])
}
