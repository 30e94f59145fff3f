//! Static pods. A manifest is written when it should be there and never taken
//! away because something does not answer.

use super::{Look, turn, writes};
use crate::observed::Probe;
use crate::turn::Purpose;
use crate::verdict::Verdict;

/// A changed manifest restarts the API server, which the others then have to do without: in this
/// machine's turn. One that certainly is not there cannot be taken from anybody.
pub(super) fn control_plane(look: &Look<'_>) -> Verdict {
    let observed = look.observed;
    let writes = writes(observed, &look.desired.api_server);
    let there = look.desired.api_server.iter().any(|file| {
        let seen = observed.files.get(&file.path);
        matches!(seen, Some(Probe::Seen(_)))
    });
    if writes.is_empty() || !there || observed.api_server == Probe::Absent {
        return Verdict::act(writes);
    }
    let waits = "the API server is not restarted with what is new";
    match turn::before(look, Purpose::RestartApiServer, None, waits) {
        Ok(first) => Verdict::act([first, writes].concat()),
        Err(verdict) => verdict,
    }
}

pub(super) fn controllers(look: &Look<'_>) -> Verdict {
    Verdict::act(writes(look.observed, &look.desired.controllers))
}
