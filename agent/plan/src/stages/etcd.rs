//! This machine's member of etcd: begun once by order, joined as a learner, promoted when it has
//! caught up. Every step is decided from what is seen, so that any of them can be cut short.
//!
//! What must never happen: two clusters, a quorum lost by our own act, a member that starts on an
//! empty directory with an identity it had before.

use machine_config::Role;

use super::etcd_address::{away, begun, lost, moved, there};
use super::etcd_apart::{alone, elsewhere};
use super::etcd_start::{go_on, runs, start, told};
use super::{Look, etcd_order, turn};
use crate::action::Action;
use crate::files::RenderedFile;
use crate::membership::{
    Member, MemberId, Membership, addition_refused, in_sync, removal_refused, restart_refused,
};
use crate::observed::Probe;
use crate::turn::Purpose;
use crate::verdict::Verdict;

const NOT_RESTARTED: &str = "etcd is not restarted with what is new";

pub(super) fn plan(look: &Look<'_>) -> Verdict {
    let Some(manifest) = &look.desired.etcd else {
        return elsewhere(look);
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
        (Probe::Absent, None) if observed.bootstrap_ordered => start(look, manifest),
        (Probe::Absent, None) => joining(look),
    }
}

/// No data, and no place in a cluster that this machine remembers.
fn joining(look: &Look<'_>) -> Verdict {
    let (observed, desired) = (look.observed, look.desired);
    let members = match &observed.members {
        Probe::Seen(members) => members,
        _ if desired.role == Role::Etcd => return alone(look),
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
            // Added where it is no more; etcd would not begin as that one.
            Some(own) if !own.peer_urls.contains(&look.desired.etcd_peer_url) => {
                stale(members, own, "this machine has another address by now")
            }
            Some(own) if !joined.fits(members) => {
                let name = &look.desired.hostname;
                let membership =
                    Membership::of(members, own.id, name, false).added_in(&observed.boot);
                Verdict::act(vec![Action::KeepMembership { membership }])
            }
            Some(_) => match start(look, manifest) {
                Verdict::Settled => Verdict::wait("etcd starts as a learner"),
                other => other,
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
    let members = observed.members.seen();
    let own = members.and_then(|all| begun(look, all).or_else(|| added_again(look, joined?, all)));
    if let Some(left_behind) = left_behind(look, joined, members.map(Vec::as_slice), own) {
        return left_behind;
    }
    let keep = |membership| Verdict::act(vec![Action::KeepMembership { membership }]);
    let voter = match (joined, members, own) {
        // The first: it has its vote from the beginning. What is remembered is who it is.
        (None, Some(members), Some(own)) => {
            Some(Membership::of(members, own.id, &desired.hostname, true))
        }
        (Some(joined), Some(members), Some(own)) if joined.id != own.id => Some(Membership::of(
            members,
            own.id,
            &desired.hostname,
            !own.learner,
        )),
        (Some(joined), Some(_), Some(own)) if !joined.voter && !own.learner => Some(Membership {
            voter: true,
            boot: None,
            ..joined.clone()
        }),
        _ => None,
    };
    let mut right = desired.etcd_begun.iter().chain([manifest]);
    let with = right.find(|file| told(look, file));
    let restarts = with.is_none() && runs(look, manifest);
    let moves = members
        .zip(own)
        .and_then(|(all, own)| moved(look, all, own));
    if let Some(Verdict::Act { actions }) = &moves
        && restarts
        && own.is_some_and(|own| there(look, own))
    {
        return Verdict::act(actions.clone());
    }
    if restarts {
        // A machine whose address is away for a moment has not changed its mind.
        if away(&desired.etcd_peer_url) {
            return Verdict::wait("this machine has no address yet: etcd goes on with its last");
        }
        // What is changed restarts it: not while the others could not do without. That may be long, and
        // who it is has to be remembered all the same. One that they do not find any more is only
        // found again by a restart, and who waited for them would wait for ever.
        let refused = members
            .zip(own)
            .and_then(|(all, own)| restart_refused(all, own.id));
        if refused.is_some() && own.is_some_and(|own| lost(look, own)) {
            return go_on(look);
        }
        if let Some(why) = refused {
            return voter.map_or_else(|| Verdict::wait(format!("{NOT_RESTARTED}: {why}")), keep);
        }
    }
    let Some(file) = with else {
        let verdict = match (moves.unwrap_or_else(|| go_on(look)), restarts) {
            (Verdict::Act { actions }, true) => in_turn(look, own, actions),
            (other, _) => other,
        };
        return match (verdict, voter) {
            (Verdict::Blocked { .. }, Some(membership)) => keep(membership),
            (verdict, _) => verdict,
        };
    };
    if let Some(moves) = moves {
        return moves;
    }
    if let Some(membership) = voter {
        return keep(membership);
    }
    match start(look, file) {
        Verdict::Settled => {}
        other => return other,
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

/// What restarts a member that runs, or is followed by that: in this machine's turn. One that the others
/// do not find any more, or that does not answer, takes nothing from them: whoever has the turn may be
/// waiting for it. That they can do without it was seen before.
fn in_turn(look: &Look<'_>, own: Option<&Member>, actions: Vec<Action>) -> Verdict {
    match turn::before(look, Purpose::RestartEtcd, None, NOT_RESTARTED) {
        Ok(first) => Verdict::act([first, actions].concat()),
        Err(_) if own.is_some_and(|own| lost(look, own)) => Verdict::act(actions),
        // Another has it, which is what a person could do something about.
        Err(Verdict::Blocked {
            next_step: Some(_), ..
        }) if own.is_some_and(|own| !own.answers()) => Verdict::act(actions),
        Err(other) => other,
    }
}

/// The member that this machine's is though it remembers another: that was taken out before it began, and one
/// was added in its place by a request whose outcome was lost. Under this machine's name and at its address
/// nobody else has begun.
fn added_again<'a>(
    look: &Look<'_>,
    joined: &Membership,
    members: &'a [Member],
) -> Option<&'a Member> {
    let desired = look.desired;
    let ours =
        |m: &&Member| m.peer_urls.contains(&desired.etcd_peer_url) && m.name == desired.hostname;
    let lost = !joined.voter && find(members, joined.id).is_none();
    members.iter().find(ours).filter(|_| lost)
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
    let Some(own) = own else {
        let why = format!(
            "the cluster does not have this machine's member {} any more",
            joined.id
        );
        return Some(Verdict::blocked(why, next));
    };
    // Who is where this machine was before says nothing.
    let here = |m: &Member| m.peer_urls.contains(&look.desired.etcd_peer_url);
    let mut others = members.iter().filter(|m| m.id != own.id || here(m));
    let other = others.find(|m| m.applied == Probe::Absent)?;
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
    let members = match &observed.members {
        Probe::Seen(members) => members,
        // A control plane's API server says so too, once it is there; elsewhere nothing else would.
        Probe::Unreadable(why) if desired.role == Role::Etcd => {
            return Verdict::wait(format!("no member of etcd answers yet: {why}"));
        }
        // Of this machine's own member the stage before has judged.
        _ => return Verdict::Settled,
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

pub(super) fn promotion(members: &[Member], learner: &Member) -> Option<Verdict> {
    in_sync(members, learner.id).then(|| {
        Verdict::act(vec![Action::PromoteMember {
            id: learner.id,
            name: learner.shown().to_owned(),
        }])
    })
}

pub(super) fn find(members: &[Member], id: MemberId) -> Option<&Member> {
    members.iter().find(|member| member.id == id)
}

#[cfg(test)]
#[path = "etcd_tests.rs"]
pub(super) mod tests;
