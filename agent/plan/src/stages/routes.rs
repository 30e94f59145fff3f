//! Ways to the pods of other nodes, for the built-in network.

use std::collections::BTreeSet;

use super::Look;
use crate::action::Action;
use crate::observed::{Probe, Route};
use crate::verdict::Verdict;

pub(super) fn plan(look: &Look<'_>) -> Verdict {
    let observed = look.observed;
    let (Probe::Seen(have), Probe::Seen(wanted)) = (&observed.routes, wanted(look)) else {
        return match (&observed.routes, &observed.peers) {
            (Probe::Unreadable(why), _) => Verdict::wait(format!("cannot read the routes: {why}")),
            (_, Probe::Unreadable(why)) => Verdict::wait(format!("cannot read the nodes: {why}")),
            _ => Verdict::Settled,
        };
    };
    let have: BTreeSet<Route> = have.iter().cloned().collect();
    let add: Vec<_> = wanted.difference(&have).cloned().collect();
    let remove: Vec<_> = have
        .difference(&wanted)
        // One that points elsewhere now is replaced, so that there is always one.
        .filter(|old| !wanted.iter().any(|new| new.to == old.to))
        .cloned()
        .collect();
    if add.is_empty() && remove.is_empty() {
        return Verdict::Settled;
    }
    Verdict::act(vec![Action::SetRoutes { add, remove }])
}

// A list of nodes that cannot be read takes no route away.
fn wanted(look: &Look<'_>) -> Probe<BTreeSet<Route>> {
    if look.desired.cni(&[]).is_none() {
        return Probe::Seen(BTreeSet::new());
    }
    let peers = match &look.observed.peers {
        Probe::Seen(peers) => peers,
        Probe::Absent => return Probe::Absent,
        Probe::Unreadable(why) => return Probe::Unreadable(why.clone()),
    };
    let mut routes = BTreeSet::new();
    for peer in peers.iter().filter(|p| p.name != look.desired.hostname) {
        for to in &peer.pod_cidrs {
            // A node registers itself with what it likes: it may draw pods' traffic only.
            let ours = look
                .desired
                .pod_subnets()
                .iter()
                .any(|all| all.contains(to));
            let same = |ip: &&std::net::IpAddr| ip.is_ipv4() == to.addr().is_ipv4();
            if let Some(via) = peer.addresses.iter().find(same).filter(|_| ours) {
                routes.insert(Route {
                    to: to.trunc(),
                    via: *via,
                });
            }
        }
    }
    Probe::Seen(routes)
}
