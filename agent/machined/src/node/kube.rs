//! The cluster's API, as this machine may use it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use ::kube::config::{KubeConfigOptions, Kubeconfig};
use ::kube::core::{ApiResource, GroupVersionKind};
use ::kube::{Client, Config};
use futures_util::{Stream, StreamExt};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node as KubeNode, NodeSpec, Taint};
use machine_config::MachineConfig;
use machine_plan::action::object_name;
use machine_plan::digest::digest;
use machine_plan::observed::{NodeSeen, PeerSeen, Probe};
use machine_plan::render;
use serde_json::{Value, json};

use super::NodeError;

/// Who owns the fields that we apply.
const MANAGER: &str = "machined";
const KUBELET: &str = "/etc/kubernetes/kubelet.conf";
const KUBELET_CERTIFICATE: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// As whom, and where, this machine asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    kubeconfig: String,
    /// Instead of the kubeconfig's server: a control plane asks its own API
    /// server, whatever the cluster's endpoint does at the moment.
    server: Option<SocketAddr>,
}

impl Access {
    /// A control plane's administrator, at the API server on this address; a
    /// worker's kubelet, at the cluster's endpoint.
    pub fn new(config: &MachineConfig, node_ip: IpAddr) -> Self {
        if !config.role().is_control_plane() {
            return Self {
                kubeconfig: KUBELET.to_owned(),
                server: None,
            };
        }
        Self {
            kubeconfig: render::cluster_admin_kubeconfig(*config.kubernetes_version()),
            server: Some(SocketAddr::new(node_ip, render::API_PORT)),
        }
    }
}

#[cfg(test)]
impl Access {
    /// By any kubeconfig, anywhere.
    pub(crate) const fn at(kubeconfig: String, server: Option<SocketAddr>) -> Self {
        Self { kubeconfig, server }
    }
}

/// One client, rebuilt when the kubeconfig's content or server changes.
#[derive(Default)]
pub struct Kube {
    client: Mutex<Option<(String, Client)>>,
}

impl Kube {
    /// The local API server's readiness.
    pub async fn ready(&self, access: &Access) -> Probe<()> {
        let client = match self.client(access).await {
            Ok(client) => client,
            Err(why) => return Probe::Unreadable(why),
        };
        let request = match http::Request::get("/readyz").body(Vec::new()) {
            Ok(request) => request,
            Err(e) => return Probe::Unreadable(e.to_string()),
        };
        match client.request_text(request).await {
            Ok(_) => Probe::Seen(()),
            Err(e) if refused(&e) => Probe::Absent,
            Err(e) => Probe::Unreadable(failing(&short(&e))),
        }
    }

    /// This machine's node.
    pub async fn node(&self, access: &Access, name: &str) -> Probe<NodeSeen> {
        let client = match self.client(access).await {
            Ok(client) => client,
            Err(why) => return Probe::Unreadable(why),
        };
        match Api::<KubeNode>::all(client).get_opt(name).await {
            Ok(Some(node)) => Probe::Seen(seen(node)),
            Ok(None) => Probe::Absent,
            Err(e) => Probe::Unreadable(short(&e)),
        }
    }

    /// All nodes but this one.
    pub async fn peers(&self, access: &Access, this: &str) -> Probe<Vec<PeerSeen>> {
        let client = match self.client(access).await {
            Ok(client) => client,
            Err(why) => return Probe::Unreadable(why),
        };
        // What the API server's cache has is new enough, and costs etcd nothing.
        let any = ListParams::default().match_any();
        match Api::<KubeNode>::all(client).list(&any).await {
            Ok(nodes) => Probe::Seen(
                nodes
                    .items
                    .into_iter()
                    .filter(|node| node.metadata.name.as_deref() != Some(this))
                    .map(peer)
                    .collect(),
            ),
            Err(e) => Probe::Unreadable(short(&e)),
        }
    }

    /// Changes of any node that matter here, until the connection ends.
    pub async fn changes(
        &self,
        access: &Access,
        this: &str,
    ) -> Result<impl Stream<Item = ()> + use<>, String> {
        let client = self.client(access).await?;
        let watch = WatchParams::default();
        let events = Api::<KubeNode>::all(client).watch(&watch, "0").await;
        let events = events.map_err(|e| short(&e))?;
        let (this, mut known) = (this.to_owned(), BTreeMap::new());
        Ok(events
            .take_while(|event| {
                std::future::ready(!matches!(event, Err(_) | Ok(WatchEvent::Error(_))))
            })
            .filter_map(move |event| {
                let news = match event {
                    Ok(WatchEvent::Added(node) | WatchEvent::Modified(node)) => {
                        let name = node.metadata.name.clone().unwrap_or_default();
                        // Others report their health every few minutes; only ours is
                        // this machine's business.
                        let ready = name == this && seen(node.clone()).ready;
                        let now = Some((peer(node), ready));
                        known.insert(name, now.clone()) != Some(now)
                    }
                    Ok(WatchEvent::Deleted(node)) => {
                        let name = node.metadata.name.unwrap_or_default();
                        known.remove(&name).is_some()
                    }
                    _ => false,
                };
                std::future::ready(news.then_some(()))
            }))
    }

    /// Server-side apply, in order, stopping at the first refusal.
    pub async fn apply(&self, access: &Access, objects: &[Value]) -> Result<(), NodeError> {
        for object in objects {
            let name = object_name(object);
            let fail = |why: String| NodeError::Kube {
                operation: "apply",
                object: name.clone(),
                why,
            };
            let client = self.client(access).await.map_err(fail)?;
            let text = |pointer| {
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let (group, version) = match text("/apiVersion").split_once('/') {
                Some((group, version)) => (group, version),
                None => ("", text("/apiVersion")),
            };
            let kind = GroupVersionKind::gvk(group, version, text("/kind"));
            let resource = ApiResource::from_gvk(&kind);
            let api: Api<DynamicObject> = match text("/metadata/namespace") {
                "" => Api::all_with(client, &resource),
                namespace => Api::namespaced_with(client, namespace, &resource),
            };
            let params = PatchParams::apply(MANAGER).force();
            api.patch(text("/metadata/name"), &params, &Patch::Apply(object))
                .await
                .map_err(|e| fail(short(&e)))?;
        }
        Ok(())
    }

    /// Sets labels and taints; other taints stay.
    pub async fn mark(
        &self,
        access: &Access,
        name: &str,
        labels: &[(String, String)],
        taints: &[(String, String, String)],
    ) -> Result<(), NodeError> {
        let object = format!("node {name}");
        let fail = |why: String| NodeError::Kube {
            operation: "mark",
            object: object.clone(),
            why,
        };
        let client = self.client(access).await.map_err(fail)?;
        let api = Api::<KubeNode>::all(client);
        let node = api.get(name).await.map_err(|e| fail(short(&e)))?;
        let mut all = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        for (key, value, effect) in taints {
            let same = |t: &Taint| t.key == *key && t.effect == *effect;
            all.retain(|t| !same(t));
            let value = Some(value.clone()).filter(|v| !v.is_empty());
            all.push(Taint {
                key: key.clone(),
                value,
                effect: effect.clone(),
                time_added: None,
            });
        }
        let labels: BTreeMap<_, _> = labels.iter().cloned().collect();
        // The version makes a concurrent change of the taints a conflict, which
        // the next look resolves, instead of a lost taint.
        let version = node.metadata.resource_version;
        let patch = json!({
            "metadata": { "labels": labels, "resourceVersion": version },
            "spec": { "taints": all },
        });
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(|e| fail(short(&e)))?;
        Ok(())
    }

    /// Gives a node its pod subnets. The API server refuses other ones than it has.
    pub async fn assign_pod_cidrs(
        &self,
        access: &Access,
        name: &str,
        cidrs: &[IpNet],
    ) -> Result<(), NodeError> {
        let fail = |why: String| NodeError::Kube {
            operation: "assign pod subnets to",
            object: format!("node {name}"),
            why,
        };
        let client = self.client(access).await.map_err(fail)?;
        let patch = json!({ "spec": { "podCIDR": cidrs.first(), "podCIDRs": cidrs } });
        Api::<KubeNode>::all(client)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(|e| fail(short(&e)))?;
        Ok(())
    }

    /// A client with these rights; the same one while they last.
    pub async fn client(&self, access: &Access) -> Result<Client, String> {
        let path = &access.kubeconfig;
        // A worker's kubeconfig only names the certificate, which the kubelet renews.
        let renewed = std::fs::read(KUBELET_CERTIFICATE).unwrap_or_default();
        if access.kubeconfig == KUBELET && renewed.is_empty() {
            return Err("the kubelet has no certificate yet: it asks the cluster for one".into());
        }
        let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        let key = digest(&[format!("{access:?}\n{text}").as_bytes(), &renewed].concat());
        if let Some((_, client)) = self.cached().as_ref().filter(|(k, _)| *k == key) {
            return Ok(client.clone());
        }
        let kubeconfig =
            Kubeconfig::from_yaml(&text).map_err(|_| format!("{path}: not a kubeconfig"))?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|e| format!("{path}: {e}"))?;
        if let Some(server) = access.server {
            let url = format!("https://{server}/");
            config.cluster_url = url.parse().map_err(|e| format!("{url}: {e}"))?;
        }
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = Some(Duration::from_secs(30));
        let client = Client::try_from(config).map_err(|e| format!("{path}: {e}"))?;
        *self.cached() = Some((key, client.clone()));
        Ok(client)
    }

    fn cached(&self) -> MutexGuard<'_, Option<(String, Client)>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn peer(node: KubeNode) -> PeerSeen {
    let addresses = node.status.and_then(|status| status.addresses);
    PeerSeen {
        name: node.metadata.name.unwrap_or_default(),
        addresses: addresses
            .unwrap_or_default()
            .into_iter()
            .filter(|a| a.type_ == "InternalIP")
            .filter_map(|a| a.address.parse().ok())
            .collect(),
        pod_cidrs: pod_cidrs(node.spec.unwrap_or_default()),
    }
}

fn pod_cidrs(spec: NodeSpec) -> Vec<IpNet> {
    let all = spec
        .pod_cidrs
        .or_else(|| spec.pod_cidr.map(|one| vec![one]));
    let parsed = all.unwrap_or_default();
    parsed.iter().filter_map(|cidr| cidr.parse().ok()).collect()
}

// Of the readiness check's hooks only those that fail: the list is long, and who
// waits wants to know for what.
fn failing(answer: &str) -> String {
    let hooks = answer.lines().filter_map(|line| line.strip_prefix("[-]"));
    let names: Vec<_> = hooks.filter_map(|hook| hook.split(' ').next()).collect();
    match names.is_empty() {
        true => crate::journal::clipped(answer, 300),
        false => format!("it waits for {}", names.join(", ")),
    }
}

fn seen(node: KubeNode) -> NodeSeen {
    let conditions = node
        .status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    let ready = conditions.into_iter().find(|c| c.type_ == "Ready");
    let spec = node.spec.unwrap_or_default();
    let taint = |t: Taint| (t.key, t.value.unwrap_or_default(), t.effect);
    NodeSeen {
        ready: ready.as_ref().is_some_and(|c| c.status == "True"),
        ready_message: ready
            .and_then(|c| c.message)
            .unwrap_or_else(|| "no Ready condition yet".to_owned()),
        labels: node.metadata.labels.unwrap_or_default(),
        taints: spec
            .taints
            .clone()
            .unwrap_or_default()
            .into_iter()
            .map(taint)
            .collect(),
        cordoned_before: super::drain::cordoned_before(&node.metadata.annotations),
        pod_cidrs: pod_cidrs(spec),
    }
}

fn refused(error: &::kube::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(e) = source {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        source = e.source();
    }
    false
}

// The innermost cause is the one that helps; the layers above it only say
// "error trying to connect".
pub(super) fn short(error: &::kube::Error) -> String {
    if let ::kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
