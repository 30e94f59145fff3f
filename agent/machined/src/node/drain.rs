//! Pods leave before the machine goes down: the node is taken out of
//! scheduling, and what can run elsewhere is evicted. All of it has one
//! deadline, and nothing that goes wrong holds the machine up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::NodeError;
use super::kube::{
    Client, Error, List, NODES, Node, Patch, Pod, escaped, eviction_version, node_path,
};
use crate::boot;

/// Says in which run of the agent this machine cordoned its node; a cordon
/// without it is a person's and stays.
const MARK: &str = "machined/cordoned-in-run";

/// Between looks at who is still there: evictions that a disruption budget
/// holds back are asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// Whether the mark is there and of an earlier run: in this one the machine is
/// still on its way down. A run that was killed has taken its order along.
pub fn cordoned_before(annotations: &BTreeMap<String, String>) -> bool {
    let mark = annotations.get(MARK);
    mark.is_some_and(|run| *run != boot::run_id())
}

/// Takes back what [`drain`] did to the node.
pub async fn uncordon(client: Result<Client, String>, name: &str) -> Result<(), NodeError> {
    let fail = |why: String| NodeError::Kube {
        operation: "uncordon",
        object: format!("node {name}"),
        why,
    };
    let client = client.map_err(fail)?;
    let patch = json!({
        "metadata": { "annotations": { MARK: null } },
        "spec": { "unschedulable": null },
    });
    let patched = client.patch(&node_path(name), Patch::Merge, &patch).await;
    patched.map_err(|e| fail(e.to_string()))
}

/// Takes it back where the machine stays up after all: this run's doing only.
pub async fn call_off(client: Result<Client, String>, name: &str) -> Result<(), NodeError> {
    if let Ok(client) = &client
        && let Ok(node) = client.get::<Node>(&node_path(name)).await
        && node.metadata.annotations.get(MARK) != Some(&boot::run_id())
    {
        return Ok(());
    }
    uncordon(client, name).await
}

/// Asks all that can leave to leave, and waits until they have or the limit.
pub async fn drain(
    client: impl Future<Output = Result<Client, String>>,
    name: &str,
    limit: Duration,
    tell: &(impl Fn(String) + Sync),
) {
    let mut left = Vec::new();
    let work = async {
        let client = client.await?;
        let all = client.get::<List<Node>>(NODES).await;
        let all = all.map_err(|e| e.to_string())?.items();
        let own = |node: &&Node| node.metadata.name == name;
        let Some(this) = all.iter().find(own) else {
            return Err(format!("there is no node {name}"));
        };
        if !all.iter().any(|node| !own(&node) && takes_pods(node)) {
            return Err("no other node is ready to take the pods".to_owned());
        }
        if !this.spec.unschedulable {
            let patch = json!({
                "metadata": { "annotations": { MARK: boot::run_id() } },
                "spec": { "unschedulable": true },
            });
            let patched = client.patch(&node_path(name), Patch::Merge, &patch).await;
            patched.map_err(|e| e.to_string())?;
        }
        evict(&client, name, &mut left, tell).await
    };
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(())) => tell("done: the pods have left".to_owned()),
        Ok(Err(why)) => tell(format!("left out: {why}")),
        Err(_) => tell(format!(
            "its {} s are over; still here: {}",
            limit.as_secs(),
            shown(&left)
        )),
    }
}

async fn evict(
    client: &Client,
    name: &str,
    left: &mut Vec<String>,
    tell: &(impl Fn(String) + Sync),
) -> Result<(), String> {
    let here = format!("spec.nodeName={name}");
    let here = format!("/api/v1/pods?fieldSelector={}", escaped(&here));
    let version = eviction_version(client).await.map_err(|e| e.to_string())?;
    let mut refusals = BTreeSet::new();
    loop {
        let pods = client.get::<List<Pod>>(&here).await;
        let pods = pods.map_err(|e| e.to_string())?.items();
        let pods: Vec<_> = pods.into_iter().filter(leaves).collect();
        let names: Vec<_> = pods.iter().map(full_name).collect();
        if names != *left {
            *left = names;
            tell(match left.len() {
                0 => "no pods left".to_owned(),
                count => format!("{count} pods have to leave: {}", shown(left)),
            });
        }
        if pods.is_empty() {
            return Ok(());
        }
        let stay = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
        for pod in pods.iter().filter(stay) {
            match evict_one(client, pod, &version).await {
                // Gone already: the next list tells.
                Ok(()) | Err(Error::Refused { code: 404, .. }) => {}
                // Most often a disruption budget, for now.
                Err(error) => {
                    let refusal = format!("cannot evict {}: {error}", full_name(pod));
                    if refusals.insert(refusal.clone()) {
                        tell(refusal);
                    }
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn evict_one(client: &Client, pod: &Pod, version: &str) -> Result<(), Error> {
    let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
    let pods = format!("/api/v1/namespaces/{}/pods", escaped(namespace));
    let eviction = json!({
        "apiVersion": version,
        "kind": "Eviction",
        "metadata": { "name": name, "namespace": namespace },
    });
    let path = format!("{pods}/{}/eviction", escaped(name));
    client.post(&path, &eviction).await
}

/// Whether a pod can run elsewhere: not one of a daemon set, which belongs to
/// the node, nor a static one's mirror, nor one that has ended.
fn leaves(pod: &Pod) -> bool {
    let metadata = &pod.metadata;
    let mirror = metadata
        .annotations
        .contains_key("kubernetes.io/config.mirror");
    let mut owners = metadata.owner_references.iter();
    let daemon = owners.any(|owner| owner.kind == "DaemonSet");
    let ended = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
    !mirror && !daemon && !ended
}

fn takes_pods(node: &Node) -> bool {
    let mut taints = node.spec.taints.iter();
    node.ready().is_some_and(|c| c.status == "True")
        && !node.spec.unschedulable
        && !taints.any(|t| t.effect != "PreferNoSchedule")
}

fn full_name(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    format!("{}/{}", metadata.namespace, metadata.name)
}

fn shown(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let first = names[..names.len() - more].join(", ");
    match more {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
