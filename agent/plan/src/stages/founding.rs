//! What a cluster's first machine does for those that come at the same time: it gives their nodes pod
//! subnets. The controller manager begins to do so only 10 s after it has begun to lead.

use ipnet::IpNet;

use super::Look;
use crate::membership::Member;
use crate::observed::{NodeSeen, PeerSeen, Probe};
use crate::verdict::Verdict;

/// For how long after its own node was registered the controller manager waits for the nodes of machines
/// that are known to come. Without them it goes on, and they get their subnets from it.
const COMING: i64 = 15;

/// Subnets for nodes that have none, this machine's first; none where that is the controller manager's
/// business. Only the machine that founds the cluster gives them, and only until it starts its
/// controller manager, which keeps what nodes have when it begins. That no other leads meanwhile is seen to
/// where they are given.
pub(super) fn gives(look: &Look<'_>, node: &NodeSeen) -> Vec<(String, Vec<IpNet>)> {
    let Some(peers) = peers(look, node) else {
        return Vec::new();
    };
    let mut taken: Vec<_> = peers
        .iter()
        .flat_map(|peer| peer.pod_cidrs.clone())
        .collect();
    taken.extend(&node.pod_cidrs);
    let own = Some(&look.desired.hostname).filter(|_| node.pod_cidrs.is_empty());
    let others = peers.iter().filter(|peer| peer.pod_cidrs.is_empty());
    let mut given = Vec::new();
    for name in own.into_iter().chain(others.map(|peer| &peer.name)) {
        let Some(next) = look.desired.next_pod_cidrs(&taken) else {
            break;
        };
        taken.extend(&next);
        given.push((name.clone(), next));
    }
    given
}

/// Why the controller manager is not started yet; none where it may be.
pub(super) fn waits(look: &Look<'_>) -> Option<Verdict> {
    let node = look.observed.node.seen()?;
    let peers = peers(look, node).filter(|_| is_young(look, node))?;
    look.desired.next_pod_cidrs(&[])?;
    let own = &look.desired.etcd_peer_url;
    let members = look.observed.members.seen().into_iter().flatten();
    let mut others = members.filter(|member| !member.peer_urls.contains(own));
    let is_node = |member: &Member| {
        let here = |peer: &&PeerSeen| {
            member
                .address()
                .is_some_and(|ip| peer.addresses.contains(&ip))
        };
        peers.iter().any(|peer| here(&peer))
    };
    let coming = others.find(|member| !is_node(member)).map(Member::shown);
    let without = peers.iter().find(|peer| peer.pod_cidrs.is_empty());
    let who = coming.or(without.map(|peer| peer.name.as_str()))?;
    Some(Verdict::wait(format!(
        "nodes that come now get their pod subnets first: waits for that of {who}"
    )))
}

/// The other nodes, where this machine is to see to their subnets.
fn peers<'a>(look: &Look<'a>, node: &NodeSeen) -> Option<&'a [PeerSeen]> {
    let (observed, desired) = (look.observed, look.desired);
    let founds = observed.bootstrap_ordered || (observed.bootstrap_done && is_young(look, node));
    let manager = desired.controllers.iter().any(|file| {
        let seen = observed.files.get(&file.path);
        seen.is_some_and(|seen| *seen != Probe::Absent)
    });
    let peers = observed.peers.seen().filter(|_| founds && !manager)?;
    desired.cni(&[]).map(|_| peers.as_slice())
}

/// A clock that was set back does not make it so.
fn is_young(look: &Look<'_>, node: &NodeSeen) -> bool {
    (0..COMING).contains(&(look.now - node.registered))
}

#[cfg(test)]
#[path = "founding_tests.rs"]
mod tests;
