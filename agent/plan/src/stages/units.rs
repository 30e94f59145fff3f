//! Supervised units: restarted only when what they read has changed.

use machine_config::Role;

use super::{Look, writes};
use crate::action::Action;
use crate::desired::Unit;
use crate::observed::Probe;
use crate::verdict::Verdict;

pub(super) fn runtime(look: &Look<'_>) -> Verdict {
    supervise(look, &look.desired.runtime)
}

pub(super) fn kubelet(look: &Look<'_>) -> Verdict {
    // Without a certificate and without anybody to ask for one, kubelet ends and is
    // started again for as long as that lasts, which helps nobody.
    let asks = look.desired.role == Role::Worker && !told(look, &look.desired.kubelet);
    if asks && look.observed.endpoint.seen().is_none() {
        return Verdict::wait("no API server of this cluster answers at its endpoint yet");
    }
    supervise(look, &look.desired.kubelet)
}

/// Whether the unit was started with its present inputs in this boot.
pub(super) fn told(look: &Look<'_>, unit: &Unit) -> bool {
    let seen = look.observed.units.get(unit.name).and_then(Probe::seen);
    seen.and_then(|u| u.inputs.as_deref()) == Some(unit.inputs.as_str())
}

fn supervise(look: &Look<'_>, unit: &Unit) -> Verdict {
    let seen = match look.observed.units.get(unit.name) {
        Some(Probe::Seen(seen)) => seen,
        Some(Probe::Unreadable(why)) => {
            return Verdict::wait(format!("cannot ask systemd about {}: {why}", unit.name));
        }
        Some(Probe::Absent) | None => {
            return Verdict::blocked(
                format!("systemd knows no unit {}", unit.name),
                "the image lacks it: boot a complete image",
            );
        }
    };
    let mut actions = writes(look.observed, &unit.files);
    let (name, inputs) = (unit.name.to_owned(), unit.inputs.clone());
    if !told(look, unit) || !actions.is_empty() {
        actions.push(Action::RestartUnit { unit: name, inputs });
        return Verdict::act(actions);
    }
    match (seen.active_state.as_str(), seen.sub_state.as_str()) {
        ("active", _) => Verdict::Settled,
        // systemd itself is about to start it again; a start of ours would only
        // cut its pause short.
        ("activating" | "deactivating" | "reloading", sub) => Verdict::wait(format!(
            "{} is {sub}{}",
            unit.name,
            match seen.restarts {
                0 => String::new(),
                n => format!(" after {n} restarts, last result {}", seen.result),
            }
        )),
        _ => Verdict::act(vec![Action::StartUnit { unit: name, inputs }]),
    }
}
