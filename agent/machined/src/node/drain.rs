//! Pods leave before the machine goes down: the node is taken out of
//! scheduling, and what can run elsewhere is evicted. All of it has one
//! deadline, and nothing that goes wrong holds the machine up.

use std::collections::BTreeMap;
use std::time::Duration;

use ::kube::Client;
use ::kube::api::{Api, EvictParams, ListParams, Patch, PatchParams};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;

use super::NodeError;
use super::kube::short;
use crate::boot;

/// Says in which boot this machine cordoned its node; a cordon without it is a
/// person's and stays.
const MARK: &str = "machined/cordoned-in-boot";

/// Between looks at who is still there: evictions that a disruption budget
/// holds back are asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// Whether the mark is there and of an earlier boot: in this one the machine
/// is still on its way down.
pub fn cordoned_before(annotations: &Option<BTreeMap<String, String>>) -> bool {
    let mark = annotations.as_ref().and_then(|a| a.get(MARK));
    mark.is_some_and(|boot| *boot != boot::boot_id())
}

/// Takes back what [`drain`] did to the node.
pub async fn uncordon(client: Result<Client, String>, name: &str) -> Result<(), NodeError> {
    let fail = |why: String| NodeError::Kube {
        operation: "uncordon",
        object: format!("node {name}"),
        why,
    };
    let nodes = Api::<Node>::all(client.map_err(fail)?);
    let patch = json!({
        "metadata": { "annotations": { MARK: null } },
        "spec": { "unschedulable": null },
    });
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    let patched = nodes.patch(name, &params, &patch).await;
    patched.map(drop).map_err(|e| fail(short(&e)))
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
        let nodes = Api::<Node>::all(client.clone());
        let all = nodes.list(&ListParams::default()).await;
        let all = all.map_err(|e| short(&e))?.items;
        let Some(own) = all.iter().find(|node| named(node, name)) else {
            return Err(format!("there is no node {name}"));
        };
        if !all
            .iter()
            .any(|node| !named(node, name) && takes_pods(node))
        {
            return Err("no other node is ready to take the pods".to_owned());
        }
        if !unschedulable(own) {
            let patch = json!({
                "metadata": { "annotations": { MARK: boot::boot_id() } },
                "spec": { "unschedulable": true },
            });
            let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
            let patched = nodes.patch(name, &params, &patch).await;
            patched.map_err(|e| short(&e))?;
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
    let here = ListParams::default().fields(&format!("spec.nodeName={name}"));
    loop {
        let pods = Api::<Pod>::all(client.clone()).list(&here).await;
        let pods: Vec<_> = pods.map_err(|e| short(&e))?.items;
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
        for pod in pods
            .iter()
            .filter(|p| p.metadata.deletion_timestamp.is_none())
        {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let of = Api::<Pod>::namespaced(client.clone(), namespace);
            let pod = pod.metadata.name.as_deref().unwrap_or_default();
            // Refused by a budget, or gone already: the next list tells.
            if let Err(error) = of.evict(pod, &EvictParams::default()).await {
                tracing::debug!(pod, error = short(&error), "not evicted");
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether a pod can run elsewhere: not one of a daemon set, which belongs to
/// the node, nor a static one's mirror, nor one that has ended.
fn leaves(pod: &Pod) -> bool {
    let metadata = &pod.metadata;
    let mirror = metadata.annotations.as_ref();
    let mirror = mirror.is_some_and(|a| a.contains_key("kubernetes.io/config.mirror"));
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let daemon = owners.iter().any(|owner| owner.kind == "DaemonSet");
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed"));
    !mirror && !daemon && !ended
}

fn takes_pods(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref());
    let ready = conditions.unwrap_or_default().iter();
    let mut ready = ready.filter(|c| c.type_ == "Ready" && c.status == "True");
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    let mut taints = taints.unwrap_or_default().iter();
    ready.next().is_some()
        && !unschedulable(node)
        && !taints.any(|t| t.effect != "PreferNoSchedule")
}

fn unschedulable(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.unschedulable).unwrap_or(false)
}

fn named(node: &Node, name: &str) -> bool {
    node.metadata.name.as_deref() == Some(name)
}

fn full_name(pod: &Pod) -> String {
    let part = |name: &Option<String>| name.clone().unwrap_or_default();
    let metadata = &pod.metadata;
    format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
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
