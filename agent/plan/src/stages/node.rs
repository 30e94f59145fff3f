//! This machine's node, and the pod network that depends on it.

use super::{Look, founding, removals, writes};
use crate::action::Action;
use crate::desired::CNI_FILE;
use crate::observed::{NodeSeen, Probe};
use crate::verdict::Verdict;

pub(super) fn mark(look: &Look<'_>) -> Verdict {
    if !look.desired.role.has_node() {
        return Verdict::Settled;
    }
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
        // Of an earlier document: containerd would go on using it, by its name before others.
        return Verdict::act(removals(look, CNI_FILE));
    }
    let node = match registered(look) {
        Ok(node) => node,
        Err(verdict) => return verdict,
    };
    let given = founding::gives(look, node);
    let own = given
        .first()
        .filter(|given| given.0 == look.desired.hostname);
    let cidrs = own.map_or(&node.pod_cidrs, |(_, cidrs)| cidrs);
    if !cidrs.is_empty() {
        // The file first: kubelet looks at the network once more when it sees its subnet, and
        // calls the node Ready then, or a period later.
        let mut actions = writes(look.observed, &look.desired.cni(cidrs));
        let assign = |(name, cidrs)| Action::AssignPodCidrs { name, cidrs };
        actions.extend(given.into_iter().map(assign));
        return Verdict::act(actions);
    }
    Verdict::wait("the controller manager has not given this node a pod subnet yet")
}

pub(super) fn ready(look: &Look<'_>) -> Verdict {
    if !look.desired.role.has_node() {
        return Verdict::Settled;
    }
    match registered(look) {
        Ok(node) if node.ready => Verdict::Settled,
        Ok(node) => Verdict::wait(format!("the node is not Ready: {}", node.ready_message)),
        Err(verdict) => verdict,
    }
}

fn registered<'a>(look: &'a Look<'_>) -> Result<&'a NodeSeen, Verdict> {
    let starting = look.desired.api_server.is_some() && look.observed.api_server.seen().is_none();
    match &look.observed.node {
        Probe::Seen(node) => Ok(node),
        Probe::Absent => Err(Verdict::wait("kubelet has not registered the node yet")),
        // One reason, said once: the stage of the API server gives the details.
        Probe::Unreadable(_) if starting => {
            Err(Verdict::wait("the local API server does not answer yet"))
        }
        Probe::Unreadable(why) => Err(Verdict::wait(format!("cannot read the node: {why}"))),
    }
}
