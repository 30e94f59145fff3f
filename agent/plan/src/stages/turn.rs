//! One control plane at a time: what takes etcd or an API server of this machine away from the others
//! has its turn first, and gives it back once all is well again.

use super::etcd_address::begun;
use super::{Look, cluster, etcd, pods};
use crate::action::Action;
use crate::membership::Member;
use crate::observed::Probe;
use crate::turn::{Purpose, Stand, Turn, stand};
use crate::verdict::Verdict;

/// For how long a manifest may be there without kubelet having heard of it: what answers is the old
/// process. It looks by itself every 20 s.
const UNHEARD: i64 = 60;

/// What is to be done right before something that needs this machine's turn. Without it: what is to be
/// done, or said, instead.
///
/// A turn that is this machine's is made to last once more, so that what follows never happens under one
/// that was lost since it was looked at. Who can ask nobody has nobody to ask: without an answer of
/// etcd, whose own API server has none either, nothing is taken from anybody.
pub(super) fn before(
    look: &Look<'_>,
    purpose: Purpose,
    order: Option<&str>,
    waits: &str,
) -> Result<Vec<Action>, Verdict> {
    let (desired, observed) = (look.desired, look.observed);
    let Some((members, own)) = own(look) else {
        return Ok(Vec::new());
    };
    let over = match stand(members, own.id, &observed.turn) {
        Stand::NotNeeded => return Ok(Vec::new()),
        _ if observed.going_down => {
            return Err(Verdict::wait(format!("{waits}: this machine goes down")));
        }
        Stand::Held(turn) => {
            let why = format!("{waits}: {}", turn.held());
            return Err(Verdict::blocked(why, turn.next_step()));
        }
        Stand::Unknown(why) => {
            return Err(Verdict::wait(format!(
                "{waits}: cannot tell whose turn it is: {why}"
            )));
        }
        Stand::Ours(seen) => Some(seen),
        Stand::Free(left) => left,
    };
    let ours = over.is_some_and(|seen| seen.turn.member == own.id);
    let take = Action::TakeTurn {
        turn: Turn {
            version: Turn::VERSION,
            holder: desired.hostname.clone(),
            member: own.id,
            purpose,
            boot: observed.boot.clone(),
            since: look.now,
            order: order.map(str::to_owned),
        },
        over: over.cloned(),
    };
    match ours {
        true => Ok(vec![take]),
        // Another may be quicker: the next look knows.
        false => Err(Verdict::act(vec![take])),
    }
}

/// The end of this machine's turn, whatever it was for: nothing here wants it any more, and the others
/// can count on this machine again.
pub(super) fn plan(look: &Look<'_>) -> Verdict {
    let observed = look.observed;
    let (Some((_, own)), Probe::Seen(seen)) = (own(look), &observed.turn) else {
        return Verdict::Settled;
    };
    if seen.turn.member != own.id {
        return Verdict::Settled;
    }
    let keeps = |why: &str| Verdict::wait(format!("this machine keeps its turn: {why}"));
    if observed.going_down {
        return keeps("it goes down");
    }
    let rules = [etcd::plan, pods::control_plane, cluster::api];
    if !own.answers() || rules.iter().any(|rule| rule(look) != Verdict::Settled) {
        return keeps("its etcd and its API server are not well yet, or not as they should be");
    }
    // A clock that was set back does not make it last.
    if seen.turn.purpose.restarts() && (0..UNHEARD).contains(&(look.now - seen.turn.since)) {
        return keeps("kubelet may not have heard yet of what is new");
    }
    Verdict::act(vec![Action::GiveTurn { seen: seen.clone() }])
}

/// This machine's member, by the members' list, and the list.
fn own<'a>(look: &Look<'a>) -> Option<(&'a [Member], &'a Member)> {
    let members = look.observed.members.seen()?;
    Some((members, begun(look, members)?))
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
