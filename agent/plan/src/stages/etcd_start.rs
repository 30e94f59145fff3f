//! As what this machine's member of etcd runs: a static pod, or a unit. When it may is the stage's to say.

use super::{Look, pods, units, writes};
use crate::action::Action;
use crate::desired::ETCD;
use crate::files::RenderedFile;
use crate::observed::Probe;
use crate::verdict::Verdict;

/// As a pod it runs once its manifest is there, which is kubelet's to see to; as a unit it is seen to here.
pub(super) fn start(look: &Look<'_>, file: &RenderedFile) -> Verdict {
    match look.desired.etcd_unit_of(file) {
        Some(unit) => units::restarted(look, &unit),
        None => Verdict::act(writes(look.observed, [file])),
    }
}

/// Starts a member that has begun.
pub(super) fn go_on(look: &Look<'_>) -> Verdict {
    let told = look.desired.etcd_begun.last();
    told.map_or(Verdict::Settled, |file| start(look, file))
}

/// Whether something here starts this machine's member, or has.
pub(super) fn runs(look: &Look<'_>, manifest: &RenderedFile) -> bool {
    match look.desired.etcd_unit {
        true => units::runs(look, ETCD),
        false => {
            let seen = look.observed.files.get(&manifest.path);
            matches!(seen, Some(Probe::Seen(_)))
        }
    }
}

/// Whether this is what it was started with.
pub(super) fn told(look: &Look<'_>, file: &RenderedFile) -> bool {
    let unit = look.desired.etcd_unit_of(file);
    look.observed
        .has_file(&file.path, &file.digest(), file.mode)
        && unit.is_none_or(|unit| units::told_inputs(look, unit.name, &unit.inputs))
}

/// Whether it has data, and nothing that starts it as this machine is now.
pub(super) fn is_down(look: &Look<'_>) -> bool {
    let (observed, desired) = (look.observed, look.desired);
    let mut files = desired.etcd_begun.iter().chain(&desired.etcd);
    let serves = files.any(|file| runs(look, file) && told(look, file));
    observed.etcd_data == Probe::Seen(()) && desired.etcd.is_some() && !serves
}

/// Whether it has data, and nothing has started it since the machine did.
pub(super) fn is_off(look: &Look<'_>) -> bool {
    let file = look.desired.etcd.as_ref();
    let off = file.is_some_and(|file| !runs(look, file));
    off && look.observed.etcd_data == Probe::Seen(())
}

/// What has to be done until nothing starts it; nothing where that is so.
pub(super) fn stop(look: &Look<'_>) -> Vec<Action> {
    let mut actions = pods::removals(look, &look.desired.etcd);
    // One that waits to be started again has nothing locked: that it was told to stop is what counts. Its
    // arguments go after that, and without them nobody starts it.
    if look.desired.etcd_unit && (units::runs(look, ETCD) || !actions.is_empty()) {
        let unit = ETCD.to_owned();
        actions.insert(0, Action::StopUnit { unit });
    }
    actions
}

#[cfg(test)]
#[path = "etcd_start_tests.rs"]
mod tests;
