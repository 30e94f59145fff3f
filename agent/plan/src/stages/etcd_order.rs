//! What a person has ordered about this machine's member of etcd. Each step is decided from what is
//! seen, so that any of them can be cut short; what was there before is kept aside, never deleted.

use super::etcd_address::own;
use super::{Look, etcd_start, pods, turn};
use crate::action::Action;
use crate::membership::removal_refused;
use crate::observed::{Probe, Restored};
use crate::order::{EtcdOrder, EtcdVerb, Source};
use crate::turn::Purpose;
use crate::verdict::Verdict;

/// The verdict, where an order has something to say.
pub(super) fn plan(look: &Look<'_>, order: &EtcdOrder) -> Option<Verdict> {
    match &order.verb {
        EtcdVerb::Leave if order.done => Some(Verdict::blocked(
            format!("this machine left etcd by order ({})", order.id),
            format!("machinectl etcd join -n {}", look.desired.hostname),
        )),
        _ if order.done => None,
        EtcdVerb::Recover(source) => Some(recover(look, order, source)),
        EtcdVerb::Leave => Some(leave(look, order)),
        EtcdVerb::Discard => Some(put_aside(look, order)),
    }
}

/// The old data stays where it is until the new is whole.
fn recover(look: &Look<'_>, order: &EtcdOrder, source: &Source) -> Verdict {
    let finish = || Action::FinishEtcdOrder {
        order: order.id.clone(),
    };
    if look.observed.restored == Restored::InPlace {
        return Verdict::act(vec![finish()]);
    }
    if let Some(waits) = stopped(look) {
        return waits;
    }
    match look.observed.restored {
        Restored::Nothing => Verdict::act(vec![Action::RestoreEtcd {
            order: order.id.clone(),
            from: source.clone(),
            name: look.desired.hostname.clone(),
            peer_url: look.desired.etcd_peer_url.clone(),
        }]),
        Restored::Whole | Restored::InPlace => Verdict::act(vec![
            Action::PlaceEtcd {
                order: order.id.clone(),
            },
            finish(),
        ]),
    }
}

/// Out of the list first, while the others can say whether they outlive it.
fn leave(look: &Look<'_>, order: &EtcdOrder) -> Verdict {
    let (observed, desired) = (look.observed, look.desired);
    let (data, kept, gone) = (&observed.etcd_data, &observed.membership, Probe::Absent);
    let members = match &observed.members {
        Probe::Seen(members) => members,
        // After a reboot this machine's own vote may be the one that the others lack to let it go.
        Probe::Unreadable(_) if etcd_start::is_down(look) => return etcd_start::go_on(look),
        Probe::Unreadable(why) => {
            return Verdict::wait(format!(
                "leaves etcd when a member with a vote answers: {why}"
            ));
        }
        // Its data was set aside, and who it was with it; and a new cluster is to begin here, of which
        // nobody knows yet. What is left is to say that it is done.
        Probe::Absent if observed.bootstrap_ordered && (data, kept) == (&gone, &Probe::Absent) => {
            return put_aside(look, order);
        }
        Probe::Absent => return Verdict::wait("leaves etcd when a member with a vote is known"),
    };
    let Some(own) = own(look, members) else {
        return put_aside(look, order);
    };
    let waits = match (removal_refused(members, own.id), my_turn(look, order)) {
        (None, Ok(mut actions)) => {
            actions.push(Action::LeaveEtcd {
                id: own.id,
                name: own.shown().to_owned(),
            });
            return Verdict::act(actions);
        }
        // It is the turn that is taken next.
        (None, Err(verdict)) => verdict,
        (Some(why), _) => Verdict::blocked(
            format!("cannot leave etcd: {why}"),
            format!(
                "bring other members up; or call it off: machinectl etcd join -n {}",
                desired.hostname
            ),
        ),
    };
    match waits {
        act @ Verdict::Act { .. } => act,
        // What it waits for may need its vote.
        _ if etcd_start::is_off(look) => etcd_start::go_on(look),
        waits => waits,
    }
}

/// Who has no data any more is away already, and another may need it out of the list to be done with its
/// own turn.
fn my_turn(look: &Look<'_>, order: &EtcdOrder) -> Result<Vec<Action>, Verdict> {
    match look.observed.etcd_data {
        Probe::Absent => Ok(Vec::new()),
        _ => turn::before(
            look,
            Purpose::Leave,
            Some(&order.id),
            "cannot leave etcd yet",
        ),
    }
}

fn put_aside(look: &Look<'_>, order: &EtcdOrder) -> Verdict {
    if let Some(waits) = stopped(look) {
        return waits;
    }
    let order = order.id.clone();
    // The cluster that was ordered here had begun: without its data the order would begin another.
    let begun = look.observed.bootstrap_ordered && look.observed.etcd_data == Probe::Seen(());
    let mut actions = vec![Action::FinishBootstrap; usize::from(begun)];
    actions.push(Action::SetEtcdAside {
        order: order.clone(),
    });
    actions.push(Action::FinishEtcdOrder { order });
    Verdict::act(actions)
}

/// What has to be done, or waited for, until nothing of the control plane runs here. The API server
/// goes first: it must never serve one state after another.
fn stopped(look: &Look<'_>) -> Option<Verdict> {
    let (observed, desired) = (look.observed, look.desired);
    let clients = desired.controllers.iter().chain(&desired.api_server);
    let clients = pods::removals(look, clients);
    if !clients.is_empty() {
        return Some(Verdict::act(clients));
    }
    if observed.api_server != Probe::Absent {
        return Some(Verdict::wait("waits until the API server here has stopped"));
    }
    let etcd = etcd_start::stop(look);
    if !etcd.is_empty() {
        return Some(Verdict::act(etcd));
    }
    match &observed.etcd_runs {
        Probe::Absent => None,
        Probe::Seen(()) => Some(Verdict::wait("waits until etcd here has stopped")),
        Probe::Unreadable(why) => Some(Verdict::wait(format!(
            "cannot tell whether etcd here has stopped: {why}"
        ))),
    }
}

#[cfg(test)]
#[path = "etcd_order_tests.rs"]
mod tests;
