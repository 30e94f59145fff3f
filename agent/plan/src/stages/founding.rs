//! What a cluster's first machine does for those that come at the same time: it gives their nodes pod
//! subnets. The controller manager begins to do so only 10 s after it has begun to lead.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Look;
use crate::membership::Member;
use crate::observed::{NodeSeen, PeerSeen, Probe};
use crate::verdict::Verdict;

/// For how long after its own node was registered the controller manager waits for the nodes of machines
/// that are known to come. Without them it goes on, and they get their subnets from it.
const COMING: i64 = 15;

/// For how long it waits whether any come: others look four times a second. The API server is not ready
/// sooner by much.
const MOMENT: i64 = 2;

/// For how long it waits for the nodes of control planes that the config names. They may come much later.
const NAMED: i64 = 5;

/// For how long after the order to bootstrap it waits for this machine's own node. kubelet tries to register
/// it every 7 s, and an API server can be ready before.
const OWN: i64 = 60;

/// Subnets for nodes that have none, this machine's first; none where that is the controller manager's
/// business. Only the machine that founds the cluster gives them, and only until it starts its
/// controller manager, which keeps what nodes have when it begins. That no other leads meanwhile is seen to
/// where they are given; where nobody leads by a lease, only the first node is given one, as long as no
/// other machine can have a controller manager.
pub(super) fn gives(look: &Look<'_>, node: &NodeSeen) -> Vec<(String, Vec<IpNet>)> {
    let Some(peers) = peers(look, node) else {
        return Vec::new();
    };
    let mut taken: Vec<_> = peers
        .iter()
        .flat_map(|peer| peer.pod_cidrs.clone())
        .collect();
    taken.extend(&node.pod_cidrs);
    let by_lease = look.desired.leads_by_lease();
    let own = node.pod_cidrs.is_empty() && (by_lease || first(look, peers));
    let own = Some(&look.desired.hostname).filter(|_| own);
    let others = peers
        .iter()
        .filter(|peer| by_lease && peer.pod_cidrs.is_empty());
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
    let observed = look.observed;
    look.desired.next_pod_cidrs(&[])?;
    look.desired.cni(&[])?;
    let waited = look.now - observed.bootstrap_since;
    if observed.bootstrap_ordered && observed.node == Probe::Absent && (0..OWN).contains(&waited) {
        return Some(Verdict::wait(
            "this machine's node gets its pod subnets first",
        ));
    }
    let node = observed.node.seen()?;
    let young = is_young(look, node) && look.desired.leads_by_lease();
    let peers = peers(look, node).filter(|_| young)?;
    let own = &look.desired.etcd_peer_url;
    let members = look.observed.members.seen().into_iter().flatten();
    let mut others = members.filter(|member| !member.peer_urls.contains(own));
    let is_node = |ip: IpAddr| peers.iter().any(|peer| peer.addresses.contains(&ip));
    let coming = others.find(|member| !member.address().is_some_and(is_node));
    let coming = coming.map(|member| member.shown().to_owned());
    let age = look.now - node.registered;
    let named = look.desired.named_control_planes().iter();
    let mut named =
        named.filter(|ip| age < NAMED && !is_node(**ip) && !observed.addresses.contains(ip));
    let named = named.next().map(IpAddr::to_string);
    let without = peers.iter().find(|peer| peer.pod_cidrs.is_empty());
    let who = coming.or(named).or(without.map(|peer| peer.name.clone()));
    let soon = age < MOMENT;
    let whom = match who {
        Some(who) => format!("for that of {who}"),
        None if soon => "a moment for any".to_owned(),
        None => return None,
    };
    Some(Verdict::wait(format!(
        "nodes that come now get their pod subnets first: waits {whom}"
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

/// Whether nobody else can have given a node its subnets: without a vote in etcd nobody has a controller
/// manager.
fn first(look: &Look<'_>, peers: &[PeerSeen]) -> bool {
    let voters = |members: &Vec<Member>| members.iter().filter(|m| !m.learner).count();
    let members = look.observed.members.seen();
    peers.iter().all(|peer| peer.pod_cidrs.is_empty())
        && (peers.is_empty() || members.is_some_and(|all| voters(all) == 1))
}

/// A clock that was set back does not make it so.
fn is_young(look: &Look<'_>, node: &NodeSeen) -> bool {
    (0..COMING).contains(&(look.now - node.registered))
}

#[cfg(test)]
#[path = "founding_tests.rs"]
mod tests;
