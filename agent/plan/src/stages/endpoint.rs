//! Where this machine's clients find the API: the load balancer on every node, and the address that
//! control planes hold by turns. Both are units of their own, which live on while the agent is away.

use std::collections::BTreeSet;
use std::net::IpAddr;

use machine_config::Role;

use super::{Look, removals, units};
use crate::action::Action;
use crate::desired::VIRTUAL_IP;
use crate::membership::Member;
use crate::observed::{PeerSeen, Probe};
use crate::verdict::Verdict;

pub(super) fn plan(look: &Look<'_>) -> Verdict {
    let desired = look.desired;
    // Who has neither, and lets everybody in, needs to know nobody. Without a member of etcd, that there
    // is a cluster is known by who is in it.
    let shares = desired.load_balancer.is_some() || desired.virtual_ip.is_some();
    if shares || desired.keeps_strangers_out() || desired.etcd_elsewhere {
        let known = control_planes(look).filter(|known| *known != desired.control_planes);
        if let Some(addresses) = known {
            return Verdict::act(vec![Action::KeepControlPlanes { addresses }]);
        }
    }
    // One that an earlier document wanted stays for this boot: kubelet still asks there.
    if let Some(unit) = &desired.load_balancer {
        match units::reloaded(look, unit) {
            Verdict::Settled => {}
            other => return other,
        }
    }
    match &desired.virtual_ip {
        Some(unit) => units::reloaded(look, unit),
        None => stopped(look),
    }
}

/// All that the cluster knows, sorted; `None` where nothing new can be said. A list is taken as a whole:
/// a machine is a control plane until its node is deleted, however long it is silent. One that joins
/// is a member of etcd before it is a node: the holder of the virtual IP has to speak to it before its
/// API server is ready, or both would hold the address for a moment. And who joins knows the members
/// before there is an API server to ask: its kubelet reaches the cluster through theirs.
fn control_planes(look: &Look<'_>) -> Option<Vec<IpAddr>> {
    let members = look.observed.members.seen();
    let (peers, known) = match &look.observed.peers {
        Probe::Seen(peers) => (peers.as_slice(), &[][..]),
        _ if members.is_some() && look.desired.role == Role::ControlPlane => {
            (&[][..], look.desired.control_planes.as_slice())
        }
        _ => return None,
    };
    let own = *look.observed.node_ip.seen()?;
    let here = (look.desired.role == Role::ControlPlane).then_some(own);
    let address = |peer: &PeerSeen| {
        let same = |ip: &&IpAddr| ip.is_ipv4() == own.is_ipv4();
        peer.addresses.iter().find(same).copied()
    };
    let others = peers.iter().filter(|p| p.control_plane).filter_map(address);
    let members = members.into_iter().flatten().filter_map(Member::address);
    let members = members.filter(|ip| ip.is_ipv4() == own.is_ipv4());
    let all = others.chain(here).chain(members);
    let all: BTreeSet<IpAddr> = all.chain(known.iter().copied()).collect();
    (!all.is_empty()).then(|| all.into_iter().collect())
}

/// A document before this one may have had a virtual IP.
fn stopped(look: &Look<'_>) -> Verdict {
    // A machine whose address is away for a moment has not changed its mind.
    if look.observed.node_ip.seen().is_none() {
        return Verdict::wait("this machine has no address yet");
    }
    let mut actions = removals(look, "/etc/keepalived/");
    if !actions.is_empty() {
        let unit = VIRTUAL_IP.to_owned();
        // Its files go last: they are what tells of it.
        actions.insert(0, Action::StopUnit { unit });
    }
    Verdict::act(actions)
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
