//! This machine's node, and the pod network that depends on it.

use super::{Look, writes};
use crate::action::Action;
use crate::observed::{NodeSeen, Probe};
use crate::verdict::Verdict;

pub(super) fn mark(look: &Look<'_>) -> Verdict {
    let node = match registered(look) {
        Ok(node) => node,
        Err(verdict) => return verdict,
    };
    let desired = look.desired;
    let labels: Vec<_> = desired
        .node_labels
        .iter()
        .filter(|(key, value)| node.labels.get(key) != Some(value))
        .cloned()
        .collect();
    let tainted = desired
        .node_taints
        .iter()
        .all(|taint| node.taints.contains(taint));
    let name = desired.hostname.clone();
    let mut actions = Vec::new();
    if !labels.is_empty() || !tainted {
        actions.push(Action::MarkNode {
            name: name.clone(),
            labels,
            taints: desired.node_taints.clone(),
        });
    }
    // Only what this machine did itself: a person's cordon stays.
    if node.cordoned_before {
        actions.push(Action::UncordonNode { name });
    }
    Verdict::act(actions)
}

pub(super) fn network(look: &Look<'_>) -> Verdict {
    if look.desired.cni(&[]).is_none() {
        return Verdict::Settled;
    }
    let node = match registered(look) {
        Ok(node) => node,
        Err(verdict) => return verdict,
    };
    if node.pod_cidrs.is_empty() {
        return Verdict::wait("the controller manager has not given this node a pod subnet yet");
    }
    Verdict::act(writes(look.observed, &look.desired.cni(&node.pod_cidrs)))
}

pub(super) fn ready(look: &Look<'_>) -> Verdict {
    match registered(look) {
        Ok(node) if node.ready => Verdict::Settled,
        Ok(node) => Verdict::wait(format!("the node is not Ready: {}", node.ready_message)),
        Err(verdict) => verdict,
    }
}

fn registered<'a>(look: &'a Look<'_>) -> Result<&'a NodeSeen, Verdict> {
    match &look.observed.node {
        Probe::Seen(node) => Ok(node),
        Probe::Absent => Err(Verdict::wait("kubelet has not registered the node yet")),
        Probe::Unreadable(why) => Err(Verdict::wait(format!("cannot read the node: {why}"))),
    }
}
