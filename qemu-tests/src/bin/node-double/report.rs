//! kubelet.service, its half that tells the cluster of the node: registers it, keeps it Ready for as
//! long as there is a pod network, and lets go of pods that are to leave.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use crate::http::Door;
use crate::units::{KUBELET, Units};

const KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";
const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
const NETWORKS: &str = "/etc/cni/net.d";

const LOOK: Duration = Duration::from_secs(1);

/// How often kubelet renews its lease and its node.
const BEAT: Duration = Duration::from_secs(10);

/// Runs for as long as the node does.
pub(crate) async fn run(units: Units) {
    let mut turn = tokio::time::interval(LOOK);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut door, mut last, mut told) = (None, None, String::new());
    loop {
        turn.tick().await;
        if !units.is_active(KUBELET) || units.goes_down() {
            (door, last) = (None, None);
            continue;
        }
        match beat(&mut door, &mut last).await {
            Ok(()) => told.clear(),
            Err(error) => {
                let why = format!("{error:#}");
                if why != told {
                    println!("node: kubelet: {why}");
                    told = why;
                }
            }
        }
    }
}

/// What was told last, and when.
type Last = Option<(Instant, bool)>;

async fn beat(door: &mut Option<Door>, last: &mut Last) -> anyhow::Result<()> {
    let Ok(kubeconfig) = std::fs::read_to_string(KUBECONFIG) else {
        return Ok(());
    };
    if !door.as_mut().is_some_and(|door| door.fits(&kubeconfig)) {
        *door = Some(Door::open(KUBECONFIG, &kubeconfig)?);
        *last = None;
    }
    let Some(door) = door.as_ref().filter(|door| door.is_there()) else {
        return Ok(());
    };
    let node = Node::read()?;
    if last.is_none() {
        node.register(door).await?;
    }
    let ready = node.has_network();
    if last.is_none_or(|(at, was)| was != ready || at.elapsed() >= BEAT) {
        node.tell(door, ready).await?;
        node.renew_lease(door).await?;
        *last = Some((Instant::now(), ready));
    }
    node.let_go(door).await
}

struct Node {
    name: String,
    address: String,
    taints: Vec<Value>,
}

impl Node {
    /// From the flags that kubelet is started with.
    fn read() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(FLAGS).context("kubelet's flags")?;
        let flag = |name: &str| {
            let name = format!("--{name}=");
            let words = text.split([' ', '"', '\n']);
            words.into_iter().find_map(|word| word.strip_prefix(&name))
        };
        let taints = flag("register-with-taints").into_iter();
        let taint = |taint: &str| {
            let (key, effect) = taint.rsplit_once(':')?;
            let (key, value) = key.split_once('=').unwrap_or((key, ""));
            Some(json!({ "key": key, "value": value, "effect": effect }))
        };
        Ok(Self {
            name: flag("hostname-override").context("no name")?.to_owned(),
            address: flag("node-ip").context("no address")?.to_owned(),
            taints: taints
                .flat_map(|all| all.split(','))
                .filter_map(taint)
                .collect(),
        })
    }

    /// kubelet calls its network ready when there is a configuration of one.
    fn has_network(&self) -> bool {
        let is_one = |name: &Path| name.extension().is_some_and(|e| e == "conflist");
        let entries = std::fs::read_dir(NETWORKS).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| is_one(&entry.path()))
    }

    fn status(&self, ready: bool) -> Value {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let now = now.to_string();
        let condition = |kind: &str, status: bool, message: &str| {
            json!({
                "type": kind,
                "status": if status { "True" } else { "False" },
                "reason": "NodeDouble",
                "message": message,
                "lastHeartbeatTime": now,
            })
        };
        let message = match ready {
            true => "kubelet is posting ready status",
            false => "network plugin is not ready: cni config uninitialized",
        };
        let room =
            json!({ "cpu": "2", "memory": "4Gi", "pods": "110", "ephemeral-storage": "10Gi" });
        json!({
            "addresses": [
                { "type": "InternalIP", "address": self.address },
                { "type": "Hostname", "address": self.name },
            ],
            "conditions": [
                condition("MemoryPressure", false, "enough"),
                condition("DiskPressure", false, "enough"),
                condition("PIDPressure", false, "enough"),
                condition("Ready", ready, message),
            ],
            "capacity": room,
            "allocatable": room,
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
        })
    }

    async fn register(&self, door: &Door) -> anyhow::Result<()> {
        let path = format!("/api/v1/nodes/{}", self.name);
        let (code, _) = door.ask(("GET", &path), "json", &Value::Null).await?;
        if code != 404 {
            anyhow::ensure!(code == 200, "GET {path}: {code}");
            return Ok(());
        }
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": {
                    "kubernetes.io/hostname": self.name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                },
            },
            "spec": { "taints": self.taints },
            "status": self.status(false),
        });
        door.told(("POST", "/api/v1/nodes"), "json", &node).await?;
        println!("node: registered {}", self.name);
        Ok(())
    }

    async fn tell(&self, door: &Door, ready: bool) -> anyhow::Result<()> {
        let path = format!("/api/v1/nodes/{}/status", self.name);
        let patch = json!({ "status": self.status(ready) });
        door.told(("PATCH", &path), "strategic-merge-patch+json", &patch)
            .await
    }

    async fn renew_lease(&self, door: &Door) -> anyhow::Result<()> {
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        let path = format!("{leases}/{}", self.name);
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": self.name },
            "spec": {
                "holderIdentity": self.name,
                "leaseDurationSeconds": 40,
                "renewTime": now.to_string(),
            },
        });
        let (code, seen) = door.ask(("GET", &path), "json", &Value::Null).await?;
        if code == 404 {
            return door.told(("POST", leases), "json", &lease).await;
        }
        lease["metadata"]["resourceVersion"] = seen["metadata"]["resourceVersion"].clone();
        door.told(("PUT", &path), "json", &lease).await
    }

    /// Nothing but static pods runs here: one that is to leave has left.
    async fn let_go(&self, door: &Door) -> anyhow::Result<()> {
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", self.name);
        let (_, pods) = door.ask(("GET", &path), "json", &Value::Null).await?;
        for pod in pods["items"].as_array().into_iter().flatten() {
            let metadata = &pod["metadata"];
            let (Some(space), Some(name), Some(_)) = (
                metadata["namespace"].as_str(),
                metadata["name"].as_str(),
                metadata["deletionTimestamp"].as_str(),
            ) else {
                continue;
            };
            let path = format!("/api/v1/namespaces/{space}/pods/{name}");
            let now = json!({ "gracePeriodSeconds": 0 });
            door.told(("DELETE", &path), "json", &now).await?;
        }
        Ok(())
    }
}
