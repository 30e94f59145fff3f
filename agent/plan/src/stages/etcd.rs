//! This machine's member of etcd: begun once by order, joined as a learner, promoted when it has
//! caught up. Every step is decided from what is seen, so that any of them can be cut short.
//!
//! What must never happen: two clusters, a quorum lost by our own act, a member that starts on an
//! empty directory with an identity it had before.

use super::{Look, etcd_order, turn, writes};
use crate::action::Action;
use crate::files::RenderedFile;
use crate::membership::{
    Member, MemberId, Membership, addition_refused, in_sync, removal_refused, restart_refused,
};
use crate::observed::Probe;
use crate::turn::Purpose;
use crate::verdict::Verdict;

pub(super) fn plan(look: &Look<'_>) -> Verdict {
    let Some(manifest) = &look.desired.etcd else {
        return external(look);
    };
    let observed = look.observed;
    match &observed.etcd_order {
        Probe::Seen(order) => {
            if let Some(verdict) = etcd_order::plan(look, order) {
                return verdict;
            }
        }
        Probe::Absent => {}
        Probe::Unreadable(why) => {
            return Verdict::wait(format!("cannot read what was ordered about etcd: {why}"));
        }
    }
    let joined = match &observed.membership {
        Probe::Seen(joined) => Some(joined),
        Probe::Absent => None,
        Probe::Unreadable(why) => {
            return Verdict::wait(format!("cannot read how this machine joined etcd: {why}"));
        }
    };
    match (&observed.etcd_data, joined) {
        (Probe::Unreadable(why), _) => {
            Verdict::wait(format!("cannot tell whether etcd has data: {why}"))
        }
        (Probe::Seen(()), joined) => member(look, joined, manifest),
        (Probe::Absent, Some(joined)) => starting(look, joined, manifest),
        (Probe::Absent, None) if observed.bootstrap_ordered => {
            Verdict::act(writes(observed, [manifest]))
        }
        (Probe::Absent, None) => joining(look),
    }
}

/// No member is to be here. An API server on an external etcd makes a cluster of it where there is none,
/// so the first one waits for the order all the same; one that has begun is never held back.
fn external(look: &Look<'_>) -> Verdict {
    let (desired, observed) = (look.desired, look.observed);
    let there = |file: &RenderedFile| {
        let seen = observed.files.get(&file.path);
        matches!(seen, Some(Probe::Seen(_) | Probe::Unreadable(_)))
    };
    // The manifest is gone with each boot; who was in the cluster is remembered.
    let begun = desired.api_server.iter().any(there) || !desired.control_planes.is_empty();
    let ordered = observed.bootstrap_ordered || observed.bootstrap_done;
    if !desired.external_etcd || begun || ordered || observed.endpoint.seen().is_some() {
        return Verdict::Settled;
    }
    Verdict::blocked(
        "no cluster answers at the endpoint: waiting for the bootstrap order, or for a control plane to \
         answer there",
        "machinectl bootstrap, on exactly one control plane",
    )
}

/// No data, and no place in a cluster that this machine remembers.
fn joining(look: &Look<'_>) -> Verdict {
    let (observed, desired) = (look.observed, look.desired);
    let members = match &observed.members {
        Probe::Seen(members) => members,
        Probe::Unreadable(why) => {
            return Verdict::wait(format!("no member of etcd's cluster answers: {why}"));
        }
        // Never again by itself: what is lost may live on elsewhere.
        Probe::Absent if observed.bootstrap_done => {
            return Verdict::blocked(
                "this machine was a member and its etcd data is gone; it will not start a second \
                 cluster, and no other member is known at the cluster's endpoint",
                "bring another control plane up: this machine then joins again; or restore a snapshot",
            );
        }
        Probe::Absent => {
            return Verdict::blocked(
                "no cluster answers at the endpoint: waiting for the bootstrap order, or for a control \
                 plane to answer there",
                "machinectl bootstrap, on exactly one control plane",
            );
        }
    };
    let here = |member: &&Member| member.peer_urls.contains(&desired.etcd_peer_url);
    if let Some(own) = members.iter().find(here) {
        return match own.name.as_str() {
            // Added, and nothing is remembered of it: cut short, or a disk was lost after etcd had begun
            // and before the others heard its name. Nobody can tell, so it is never begun again.
            "" => stale(members, own, "this machine does not remember it"),
            name if *name == desired.hostname => stale(members, own, "its data is gone"),
            // An address that was another machine's: nobody is taken out by a guess.
            name => Verdict::blocked(
                format!(
                    "this machine's address {} is that of member {name}",
                    desired.etcd_peer_url
                ),
                format!("if {name} is gone: machinectl etcd remove {}", own.id),
            ),
        };
    }
    // Its address is another: it may be this machine's past, or another machine's present.
    if let Some(namesake) = members.iter().find(|m| m.name == desired.hostname) {
        let (reason, next) = match namesake.answers() {
            true => (
                "is a member and answers",
                "give this machine another hostname".to_owned(),
            ),
            false => (
                "is a member and does not answer",
                format!(
                    "if that was this machine: machinectl etcd remove {}",
                    namesake.id
                ),
            ),
        };
        let at = namesake.peer_urls.join(", ");
        let reason = format!("a machine of the name {} at {at} {reason}", namesake.name);
        return Verdict::blocked(reason, next);
    }
    if let Some(learner) = members.iter().find(|m| m.learner) {
        return Verdict::wait(format!(
            "waits until {} has its vote: members join one after the other",
            learner.shown()
        ));
    }
    match addition_refused(members) {
        Some(why) => Verdict::blocked(
            format!("joins when more members answer: {why}"),
            "bring them up, or take those that are gone out: machinectl etcd remove NAME",
        ),
        None => join(look),
    }
}

fn join(look: &Look<'_>) -> Verdict {
    Verdict::act(vec![Action::JoinEtcd {
        name: look.desired.hostname.clone(),
        peer_url: look.desired.etcd_peer_url.clone(),
    }])
}

/// A member that was this machine before it lost its data: it can never start again.
fn stale(members: &[Member], own: &Member, why: &str) -> Verdict {
    if own.answers() {
        return Verdict::blocked(
            "etcd answers here though its data directory is empty",
            "reboot this machine",
        );
    }
    match removal_refused(members, own.id) {
        Some(why) => Verdict::blocked(
            format!("this machine's former member cannot be removed: {why}"),
            "bring another member up, or restore a snapshot",
        ),
        None => Verdict::act(vec![Action::RemoveMember {
            id: own.id,
            name: own.shown().to_owned(),
            why: why.to_owned(),
        }]),
    }
}

/// Added and remembered; etcd has not begun yet.
fn starting(look: &Look<'_>, joined: &Membership, manifest: &RenderedFile) -> Verdict {
    let observed = look.observed;
    match &observed.members {
        Probe::Seen(members) => match find(members, joined.id) {
            // Taken out meanwhile. What is remembered is replaced by what comes next.
            None => joining(look),
            // It had begun: the data that went with its identity is gone.
            Some(own) if !own.name.is_empty() => stale(members, own, "its data is gone"),
            // Cut short, or its disk was lost after etcd had begun and before the others heard its name.
            Some(own) if joined.boot.as_ref() != Some(&observed.boot) => {
                stale(members, own, "it was added in another boot")
            }
            Some(own) if !joined.fits(members) => {
                let name = &look.desired.hostname;
                let membership =
                    Membership::of(members, own.id, name, false).added_in(&observed.boot);
                Verdict::act(vec![Action::KeepMembership { membership }])
            }
            Some(_) => match writes(observed, [manifest]) {
                writes if writes.is_empty() => Verdict::wait("etcd starts as a learner"),
                actions => Verdict::act(actions),
            },
        },
        Probe::Absent => Verdict::wait("no member of etcd's cluster is known any more"),
        Probe::Unreadable(why) => {
            Verdict::wait(format!("no member of etcd's cluster answers: {why}"))
        }
    }
}

/// A member that has begun: a learner until it was seen with a vote.
fn member(look: &Look<'_>, joined: Option<&Membership>, manifest: &RenderedFile) -> Verdict {
    let (observed, desired) = (look.observed, look.desired);
    let here = |m: &&Member| match joined {
        Some(joined) => m.id == joined.id,
        None => m.peer_urls.contains(&desired.etcd_peer_url),
    };
    let members = observed.members.seen();
    let own = members.and_then(|members| members.iter().find(here));
    if let Some(left_behind) = left_behind(look, joined, members.map(Vec::as_slice), own) {
        return left_behind;
    }
    let keep = |membership| Verdict::act(vec![Action::KeepMembership { membership }]);
    let voter = match (joined, members, own) {
        // The first: it has its vote from the beginning. What is remembered is who it is.
        (None, Some(members), Some(own)) => {
            Some(Membership::of(members, own.id, &desired.hostname, true))
        }
        (Some(joined), Some(_), Some(own)) if !joined.voter && !own.learner => Some(Membership {
            voter: true,
            boot: None,
            ..joined.clone()
        }),
        _ => None,
    };
    let fits = |file: &&RenderedFile| observed.has_file(&file.path, &file.digest(), file.mode);
    if !desired
        .etcd_begun
        .iter()
        .chain([manifest])
        .any(|f| fits(&f))
    {
        let there = matches!(observed.files.get(&manifest.path), Some(Probe::Seen(_)));
        let writes = writes(observed, desired.etcd_begun.last());
        // A changed manifest restarts it: not while the others could not do without, and in this
        // machine's turn. That may be long, and who it is has to be remembered all the same.
        return match there.then(|| may_restart(look, members.zip(own))) {
            None => Verdict::act(writes),
            Some(Ok(first)) => Verdict::act([first, writes].concat()),
            Some(Err(waits @ Verdict::Blocked { .. })) => voter.map_or(waits, keep),
            Some(Err(other)) => other,
        };
    }
    if let Some(membership) = voter {
        return keep(membership);
    }
    match (joined, members, own) {
        (Some(joined), ..) if joined.voter => Verdict::Settled,
        (None, ..) => Verdict::Settled,
        (Some(_), Some(members), Some(own)) => promotion(members, own)
            .unwrap_or_else(|| Verdict::wait("etcd catches up with the other members")),
        (Some(_), None, _) | (Some(_), Some(_), None) => match &observed.members {
            Probe::Unreadable(why) => {
                Verdict::wait(format!("no member of etcd's cluster answers: {why}"))
            }
            _ => Verdict::wait("no other member of etcd's cluster is known"),
        },
    }
}

/// What is to be done before it, or in its place.
fn may_restart(
    look: &Look<'_>,
    known: Option<(&Vec<Member>, &Member)>,
) -> Result<Vec<Action>, Verdict> {
    let waits = "etcd is not restarted with what is new";
    match known.and_then(|(all, own)| restart_refused(all, own.id)) {
        Some(why) => Err(Verdict::wait(format!("{waits}: {why}"))),
        None => turn::before(look, Purpose::RestartEtcd, None, waits),
    }
}

/// Why this machine's data is of no cluster any more; none where it is. Either the members' list, by
/// a quorum's word, has it no more, or somebody else is at the address of one that it has: a cluster
/// that was recovered elsewhere.
fn left_behind(
    look: &Look<'_>,
    joined: Option<&Membership>,
    members: Option<&[Member]>,
    own: Option<&Member>,
) -> Option<Verdict> {
    let next = format!(
        "machinectl etcd leave --discard -n {}: its data is set aside and it joins anew",
        look.desired.hostname
    );
    let (members, joined) = (members?, joined?);
    if own.is_none() {
        let why = format!(
            "the cluster does not have this machine's member {} any more",
            joined.id
        );
        return Some(Verdict::blocked(why, next));
    }
    let other = members.iter().find(|m| m.applied == Probe::Absent)?;
    let why = format!(
        "at the address of member {} is one of another cluster: this machine's data is of before a \
         recovery",
        other.shown()
    );
    Some(Verdict::blocked(why, next))
}

/// Learners of other machines, whose own agents may be away: any voter may promote them.
pub(super) fn others(look: &Look<'_>) -> Verdict {
    let (desired, observed) = (look.desired, look.observed);
    let Probe::Seen(members) = &observed.members else {
        // Of this machine's own member the stage before has judged.
        return Verdict::Settled;
    };
    let here = |m: &Member| m.peer_urls.contains(&desired.etcd_peer_url);
    let learners = members.iter().filter(|m| m.learner && !here(m));
    match learners.into_iter().next() {
        None => Verdict::Settled,
        Some(learner) => promotion(members, learner).unwrap_or_else(|| {
            Verdict::wait(format!(
                "{} is a learner of etcd: it catches up",
                learner.shown()
            ))
        }),
    }
}

fn promotion(members: &[Member], learner: &Member) -> Option<Verdict> {
    in_sync(members, learner.id).then(|| {
        Verdict::act(vec![Action::PromoteMember {
            id: learner.id,
            name: learner.shown().to_owned(),
        }])
    })
}

fn find(members: &[Member], id: MemberId) -> Option<&Member> {
    members.iter().find(|member| member.id == id)
}

#[cfg(test)]
#[path = "etcd_tests.rs"]
mod tests;
