//! The local API server, and the objects that every cluster has.

use machine_config::Role;

use super::{Look, etcd_address};
use crate::action::Action;
use crate::desired::objects_digest;
use crate::membership::Member;
use crate::observed::Probe;
use crate::verdict::Verdict;

pub(super) fn api(look: &Look<'_>) -> Verdict {
    if look.desired.role != Role::ControlPlane {
        return Verdict::Settled;
    }
    match &look.observed.api_server {
        Probe::Seen(()) => Verdict::Settled,
        Probe::Absent => Verdict::wait("the local API server does not listen yet"),
        Probe::Unreadable(why) => {
            Verdict::wait(format!("the local API server is not ready: {why}"))
        }
    }
}

pub(super) fn objects(look: &Look<'_>) -> Verdict {
    match look.desired.role {
        Role::ControlPlane => {}
        Role::Worker => return Verdict::Settled,
        Role::Etcd => return begun(look),
    }
    let mut actions = Vec::new();
    let digest = objects_digest(&look.desired.objects);
    if look.observed.applied.as_ref() != Some(&digest) {
        actions.push(Action::ApplyObjects {
            objects: look.desired.objects.clone(),
            digest,
        });
    }
    // The API server answers, so the cluster that was ordered exists.
    if look.observed.bootstrap_ordered {
        actions.push(Action::FinishBootstrap);
    }
    Verdict::act(actions)
}

/// Of a machine without an API server: the cluster that was ordered is etcd's, and exists once its first
/// member serves.
fn begun(look: &Look<'_>) -> Verdict {
    if !look.observed.bootstrap_ordered {
        return Verdict::Settled;
    }
    let members = look.observed.members.seen();
    let own = members.and_then(|members| etcd_address::own(look, members));
    match own.is_some_and(Member::answers) {
        true => Verdict::act(vec![Action::FinishBootstrap]),
        false => Verdict::wait("etcd does not serve yet"),
    }
}
