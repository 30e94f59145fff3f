//! Members on machines of their own: what a control plane without one waits for, and a machine of role
//! `etcd` before it is one.

use std::net::IpAddr;

use super::Look;
use crate::files::RenderedFile;
use crate::observed::Probe;
use crate::verdict::Verdict;

/// No member is to be here. An API server makes a cluster of an empty etcd, whose machines that has, so the
/// first one waits for the order all the same; one that has begun is never held back.
pub(super) fn elsewhere(look: &Look<'_>) -> Verdict {
    let (desired, observed) = (look.desired, look.observed);
    let there = |file: &RenderedFile| {
        let seen = observed.files.get(&file.path);
        matches!(seen, Some(Probe::Seen(_) | Probe::Unreadable(_)))
    };
    // The manifest is gone with each boot; who was in the cluster is remembered.
    let begun = desired.api_server.iter().any(there) || !desired.control_planes.is_empty();
    let no_member = !desired.etcd_machines.is_empty() && observed.etcd_listens != Probe::Seen(());
    if !desired.etcd_elsewhere || begun || observed.bootstrap_done {
        return Verdict::Settled;
    }
    // It would end again and again, and be started after longer and longer pauses.
    if observed.bootstrap_ordered && no_member {
        let at: Vec<_> = desired
            .etcd_machines
            .iter()
            .map(IpAddr::to_string)
            .collect();
        return Verdict::wait(format!(
            "no member of etcd listens at {}: the first one has to begin there",
            at.join(", ")
        ));
    }
    if observed.bootstrap_ordered || observed.endpoint.seen().is_some() {
        return Verdict::Settled;
    }
    Verdict::blocked(
        "no cluster answers at the endpoint: waiting for the bootstrap order, or for a control plane to \
         answer there",
        "machinectl bootstrap, on exactly one control plane",
    )
}

/// A machine of role `etcd` is told where others are: none of them may have begun yet.
pub(super) fn alone(look: &Look<'_>) -> Verdict {
    let why = match &look.observed.members {
        Probe::Unreadable(why) => format!(": {why}"),
        _ => String::new(),
    };
    match look.observed.bootstrap_done {
        // Never again by itself: what is lost may live on elsewhere.
        true => Verdict::blocked(
            format!(
                "this machine was a member and its etcd data is gone; it will not start a second cluster, \
                 and no member answers at cluster.etcd.members{why}"
            ),
            "bring another machine of role etcd up: this one then joins again; or restore a snapshot",
        ),
        false => Verdict::blocked(
            format!(
                "no member answers at cluster.etcd.members: waiting for the bootstrap order, or for a \
                 member to answer there{why}"
            ),
            "machinectl bootstrap, on exactly one machine of role etcd",
        ),
    }
}
