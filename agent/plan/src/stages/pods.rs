//! Static pods. A manifest is written when it should be there and never taken
//! away because something does not answer.

use super::{Look, writes};
use crate::observed::Probe;
use crate::verdict::Verdict;

pub(super) fn etcd(look: &Look<'_>) -> Verdict {
    let Some(manifest) = &look.desired.etcd else {
        return Verdict::Settled;
    };
    let observed = look.observed;
    match (
        &observed.etcd_data,
        observed.bootstrap_ordered,
        observed.bootstrap_done,
    ) {
        (Probe::Unreadable(why), _, _) => {
            Verdict::wait(format!("cannot tell whether etcd has data: {why}"))
        }
        // Data that is there, or a new cluster that was ordered: start. With
        // data, etcd ignores how it was told to begin.
        (Probe::Seen(()), _, _) | (Probe::Absent, true, _) => {
            Verdict::act(writes(observed, [manifest]))
        }
        // Never again by itself: what is lost may live on elsewhere.
        (Probe::Absent, false, true) => Verdict::blocked(
            "this machine was a member and its etcd data is gone; it will not start a second cluster",
            "restore a snapshot, or remove this member and let the machine join again",
        ),
        (Probe::Absent, false, false) => Verdict::blocked(
            "there is no cluster yet: waiting for the bootstrap order",
            "machinectl bootstrap, on exactly one control plane",
        ),
    }
}

pub(super) fn control_plane(look: &Look<'_>) -> Verdict {
    Verdict::act(writes(look.observed, &look.desired.api_server))
}

pub(super) fn controllers(look: &Look<'_>) -> Verdict {
    Verdict::act(writes(look.observed, &look.desired.controllers))
}
