//! The cluster's API, as this machine may use it.

mod client;
mod door;
mod error;
mod kubeconfig;
pub mod leases;
mod objects;
mod resource;
pub mod serving;
mod subnets;
pub mod tokens;
mod watched;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use machine_config::MachineConfig;
use machine_pki::Secret;
use machine_plan::action::object_name;
use machine_plan::digest::digest;
use machine_plan::observed::{NodeSeen, PeerSeen, Probe};
use machine_plan::render;
use machine_plan::serving::ServingRequest;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::NodeError;
pub use client::{Client, Patch, escaped};
pub use door::{Door, Identity, host_and_port, tls};
pub use error::Error;
use objects::Taint;
pub use objects::{List, Node, Pod};
use resource::Resources;
pub use resource::eviction_version;
use watched::Watched;

/// All nodes, in the API.
pub const NODES: &str = "/api/v1/nodes";

/// The same for who is content with what the API server's cache has: that is new enough, and costs
/// etcd nothing.
const ALL_NODES: &str = "/api/v1/nodes?resourceVersion=0";

/// Who owns the fields that we apply.
const MANAGER: &str = "machined";
/// How often a node is marked anew that somebody changed meanwhile.
const MARKS: u32 = 5;
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

    /// A control plane's administrator, where the cluster's endpoint leads.
    pub fn elsewhere(config: &MachineConfig) -> Self {
        Self {
            kubeconfig: render::cluster_admin_kubeconfig(*config.kubernetes_version()),
            server: None,
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
    watched: Watched<PeerSeen>,
    serving: Watched<ServingRequest>,
    told: serving::Told,
}

impl Kube {
    /// The local API server's readiness.
    pub async fn ready(&self, access: &Access) -> Probe<()> {
        let client = match self.client(access) {
            Ok(client) => client,
            Err(why) => return Probe::Unreadable(why),
        };
        match client.check("/readyz").await {
            Ok(()) => Probe::Seen(()),
            Err(e) if e.nobody_listens() => Probe::Absent,
            Err(e) => Probe::Unreadable(failing(&e.to_string())),
        }
    }

    /// This machine's node.
    pub async fn node(&self, access: &Access, name: &str) -> Probe<NodeSeen> {
        let client = match self.client(access) {
            Ok(client) => client,
            Err(why) => return Probe::Unreadable(why),
        };
        match client.get::<Node>(&node_path(name)).await {
            Ok(node) => Probe::Seen(node.seen()),
            Err(Error::Refused { code: 404, .. }) => Probe::Absent,
            Err(e) => Probe::Unreadable(e.to_string()),
        }
    }

    /// All nodes but this one.
    pub async fn peers(&self, access: &Access, this: &str) -> Probe<Vec<PeerSeen>> {
        let client = match self.client(access) {
            Ok(client) => client,
            Err(why) => return Probe::Unreadable(why),
        };
        // The watch knows them; what is asked is only whether the API server still answers.
        if let Some(others) = self.watched.others(this) {
            return match client.check("/version").await {
                Ok(()) => Probe::Seen(others),
                Err(e) => Probe::Unreadable(e.to_string()),
            };
        }
        match client.get::<List<Node>>(ALL_NODES).await {
            Ok(nodes) => {
                let nodes = nodes.items().into_iter();
                let others = nodes.filter(|node| node.metadata.name != this);
                Probe::Seen(others.map(|node| node.peer()).collect())
            }
            Err(e) => Probe::Unreadable(e.to_string()),
        }
    }

    /// Addresses of the other nodes that are control planes.
    pub async fn control_planes(&self, access: &Access, this: &str) -> Probe<Vec<IpAddr>> {
        let client = match self.client(access) {
            Ok(client) => client,
            Err(why) => return Probe::Unreadable(why),
        };
        let label = escaped("node-role.kubernetes.io/control-plane");
        match client
            .get::<List<Node>>(&format!("{NODES}?labelSelector={label}"))
            .await
        {
            Ok(nodes) => {
                let nodes = nodes.items().into_iter();
                let others = nodes.filter(|node| node.metadata.name != this);
                Probe::Seen(others.flat_map(|node| node.peer().addresses).collect())
            }
            Err(e) => Probe::Unreadable(e.to_string()),
        }
    }

    /// Changes of any node that matter here, until the connection ends; the first is that it began.
    pub async fn changes(
        &self,
        access: &Access,
        this: &str,
    ) -> Result<impl Stream<Item = ()> + use<>, String> {
        let client = self.client(access)?;
        let nodes = client.get::<List<Node>>(ALL_NODES).await;
        let nodes = nodes.map_err(|e| e.to_string())?;
        let events = client.watch::<Node>(NODES, nodes.version()).await;
        let events = events.map_err(|e| e.to_string())?;
        let nodes = nodes.items();
        // Others report their health every few minutes; only ours is this machine's business.
        let is_ready = |node: &Node| node.ready().is_some_and(|c| c.status == "True");
        let own = nodes.iter().find(|node| node.metadata.name == this);
        let mut ready = own.is_some_and(is_ready);
        let this = this.to_owned();
        let going = self.watched.begin(nodes.iter().map(Node::peer));
        let news = events.filter_map(move |event| {
            let (node, name) = (&event.object, &event.object.metadata.name);
            let news = match event.kind.as_str() {
                "ADDED" | "MODIFIED" => {
                    let was = ready;
                    if *name == this {
                        ready = is_ready(node);
                    }
                    going.seen(node.peer()) || ready != was
                }
                "DELETED" => going.gone(name),
                _ => false,
            };
            std::future::ready(news.then_some(()))
        });
        Ok(stream::once(std::future::ready(())).chain(news))
    }

    /// Server-side apply, in order, stopping at the first refusal.
    pub async fn apply(&self, access: &Access, objects: &[Value]) -> Result<(), NodeError> {
        let mut resources = Resources::default();
        for object in objects {
            let fail = |why: String| NodeError::Kube {
                operation: "apply",
                object: object_name(object),
                why,
            };
            let client = self.client(access).map_err(fail)?;
            let path = resources.path(&client, object).await;
            let path = path.map_err(|e| fail(e.to_string()))?;
            let path = format!("{path}?fieldManager={MANAGER}&force=true");
            let applied = client.patch(&path, Patch::Apply, object).await;
            applied.map_err(|e| fail(e.to_string()))?;
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
        let fail = |why: String| NodeError::Kube {
            operation: "mark",
            object: format!("node {name}"),
            why,
        };
        let client = self.client(access).map_err(fail)?;
        let mut left = MARKS;
        loop {
            left -= 1;
            match marked(&client, name, labels, taints).await {
                // kubelet and others write it at any moment: not worth a word.
                Err(Error::Refused { code: 409, .. }) if left > 0 => {}
                done => return done.map_err(|e| fail(e.to_string())),
            }
        }
    }

    /// A client with these rights; the same one while they last.
    pub fn client(&self, access: &Access) -> Result<Client, String> {
        let path = &access.kubeconfig;
        // A worker's kubeconfig only names the certificate, which the kubelet renews.
        let renewed = std::fs::read(KUBELET_CERTIFICATE).map(Zeroizing::new);
        let renewed = renewed.unwrap_or_default();
        if access.kubeconfig == KUBELET && renewed.is_empty() {
            return Err("the kubelet has no certificate yet: it asks the cluster for one".into());
        }
        let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        let text = Secret::new(text);
        let key = digest(
            [
                format!("{access:?}"),
                digest(text.expose().as_bytes()),
                digest(&renewed),
            ]
            .join("\n")
            .as_bytes(),
        );
        if let Some((_, client)) = self.cached().as_ref().filter(|(k, _)| *k == key) {
            return Ok(client.clone());
        }
        let read = kubeconfig::read(path, &text)?;
        let (host, port) = match access.server {
            Some(server) => (server.ip().to_string(), server.port()),
            None => door::host_and_port(&read.server)
                .ok_or_else(|| format!("{path}: its server is not https://HOST:PORT"))?,
        };
        let door = Door::new((host.as_str(), port), &read.authority, Some(&read.identity))
            .map_err(|why| format!("{path}: {why}"))?;
        let client = Client::new(door);
        *self.cached() = Some((key, client.clone()));
        Ok(client)
    }

    fn cached(&self) -> MutexGuard<'_, Option<(String, Client)>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn marked(
    client: &Client,
    name: &str,
    labels: &[(String, String)],
    taints: &[(String, String, String)],
) -> Result<(), Error> {
    let node = client.get::<Node>(&node_path(name)).await?;
    let mut all = node.spec.taints;
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
    // The version makes a concurrent change of the taints a conflict, which is
    // resolved by looking again, instead of a lost taint.
    let version = node.metadata.resource_version;
    let patch = json!({
        "metadata": { "labels": labels, "resourceVersion": version },
        "spec": { "taints": all },
    });
    client.patch(&node_path(name), Patch::Merge, &patch).await
}

/// A node, in the API.
pub fn node_path(name: &str) -> String {
    format!("{NODES}/{}", escaped(name))
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

#[cfg(test)]
mod tests;
