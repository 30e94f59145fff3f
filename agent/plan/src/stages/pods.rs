//! Static pods. A manifest is written when it should be there and never taken
//! away because something does not answer. Before the machine goes down it is.

use super::{Look, founding, turn, writes};
use crate::action::Action;
use crate::files::RenderedFile;
use crate::observed::{Probe, Retire};
use crate::turn::Purpose;
use crate::verdict::Verdict;

/// A changed manifest restarts the API server, which the others then have to do without: in this
/// machine's turn. One that certainly is not there cannot be taken from anybody.
pub(super) fn control_plane(look: &Look<'_>) -> Verdict {
    let observed = look.observed;
    if observed.retire == Retire::ApiServer {
        return retires(look, &look.desired.api_server);
    }
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
    if look.observed.retire != Retire::Nothing {
        return retires(look, &look.desired.controllers);
    }
    let writes = writes(look.observed, &look.desired.controllers);
    match founding::waits(look) {
        Some(waits) if !writes.is_empty() => waits,
        _ => Verdict::act(writes),
    }
}

/// systemd would end all containers at the same moment: an API server that is to serve on until the load
/// balancers have seen that it goes would do so without its etcd.
fn retires<'a>(look: &Look<'_>, files: impl IntoIterator<Item = &'a RenderedFile>) -> Verdict {
    match removals(look, files) {
        none if none.is_empty() => Verdict::wait("this machine goes down"),
        removals => Verdict::act(removals),
    }
}

/// What takes those away that may be there.
pub(super) fn removals<'a>(
    look: &Look<'_>,
    files: impl IntoIterator<Item = &'a RenderedFile>,
) -> Vec<Action> {
    let there = |file: &&RenderedFile| {
        let seen = look.observed.files.get(&file.path);
        !matches!(seen, None | Some(Probe::Absent))
    };
    let remove = |file: &RenderedFile| Action::RemoveFile {
        path: file.path.clone(),
    };
    files.into_iter().filter(there).map(remove).collect()
}
