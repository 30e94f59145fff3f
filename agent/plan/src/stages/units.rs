//! Supervised units: restarted only when what they read has changed.

use machine_config::Role;

use super::{Look, etcd, removals, writes};
use crate::action::Action;
use crate::desired::Unit;
use crate::observed::Probe;
use crate::verdict::Verdict;

pub(super) fn runtime(look: &Look<'_>) -> Verdict {
    let unit = look.desired.runtime.as_ref();
    unit.map_or(Verdict::Settled, |unit| supervise(look, unit, &unit.inputs))
}

/// A unit that is restarted to take what is new.
pub(super) fn restarted(look: &Look<'_>, unit: &Unit) -> Verdict {
    supervise(look, unit, &unit.inputs)
}

/// Whether it runs or will by itself; also where nobody can tell.
pub(super) fn runs(look: &Look<'_>, name: &str) -> bool {
    match look.observed.units.get(name) {
        Some(Probe::Seen(seen)) => matches!(
            seen.active_state.as_str(),
            "active" | "activating" | "deactivating" | "reloading" | "refreshing"
        ),
        Some(Probe::Unreadable(_)) => true,
        Some(Probe::Absent) | None => false,
    }
}

/// A unit that takes what is new while it goes on.
pub(super) fn reloaded(look: &Look<'_>, unit: &Unit) -> Verdict {
    let seen = look.observed.units.get(unit.name).and_then(Probe::seen);
    let runs = seen.is_some_and(|seen| seen.active_state == "active" && seen.inputs.is_some());
    let restart = supervise(look, unit, &unit.inputs);
    let Verdict::Act { actions } = restart else {
        return restart;
    };
    let gentle = |action| match action {
        Action::RestartUnit { unit, inputs } if runs => Action::ReloadUnit { unit, inputs },
        other => other,
    };
    Verdict::act(actions.into_iter().map(gentle).collect())
}

pub(super) fn kubelet(look: &Look<'_>) -> Verdict {
    let Some(unit) = &look.desired.kubelet else {
        return Verdict::Settled;
    };
    if look.desired.role != Role::Worker {
        // Alone it would ask in vain, several times a second, for a cluster that is not there.
        let told = told_inputs(look, unit.name, &unit.inputs);
        return match told || has_pods(look) || joins(look) {
            true => supervise(look, unit, &unit.inputs),
            false => Verdict::wait("there is no pod of the control plane to run yet"),
        };
    }
    let certificate = &look.observed.kubelet_certificate;
    let by_token = format!("{} by token", unit.inputs);
    let inputs = match certificate {
        Probe::Seen(()) => &unit.inputs,
        _ => &by_token,
    };
    if !told_inputs(look, unit.name, inputs) {
        match certificate {
            Probe::Seen(()) => {}
            // Without a certificate and without anybody to ask for one, kubelet ends and is
            // started again for as long as that lasts, which helps nobody.
            _ if look.observed.endpoint.seen().is_none() => {
                return Verdict::wait("no API server of this cluster answers at its endpoint yet");
            }
            Probe::Absent => {
                return Verdict::wait(
                    "no control plane machine has signed kubelet's certificate yet",
                );
            }
            // It asks Kubernetes itself then, with a token that lasts a day.
            Probe::Unreadable(_) => {}
        }
    }
    supervise(look, unit, inputs)
}

/// Whether anything of this control plane was begun: a manifest is there, or what etcd's unit is told.
/// etcd is the first.
fn has_pods(look: &Look<'_>) -> bool {
    let begun = look.desired.etcd.iter().chain(&look.desired.api_server);
    begun.into_iter().any(|file| {
        let seen = look.observed.files.get(&file.path);
        seen.is_some_and(|seen| *seen != Probe::Absent)
    })
}

/// Whether there is a cluster that this machine's member of etcd is about to join, however many are before
/// it: its node can be there when its turn comes. Not before an API server answers where the load balancer
/// leads, for a kubelet that asks too early tries again after seconds; nor where a person has to decide
/// first, or where a node of its name is another machine's: its kubelet would write over that.
fn joins(look: &Look<'_>) -> bool {
    let person = |verdict| {
        matches!(
            verdict,
            Verdict::Blocked {
                next_step: Some(_),
                ..
            }
        )
    };
    let free = match &look.observed.node {
        Probe::Absent => true,
        Probe::Seen(node) => {
            let known = &node.known_by.addresses;
            known.is_empty() || look.observed.addresses.iter().any(|ip| known.contains(ip))
        }
        Probe::Unreadable(_) => false,
    };
    let own = look.observed.node_ip.seen();
    let known = look.desired.control_planes.iter().any(|ip| Some(ip) != own);
    let leads = look.desired.load_balancer.as_ref();
    let leads = match leads {
        Some(unit) => known && told(look, unit),
        None => !look.desired.kubelet_keeps_to_its_own(),
    };
    let stacked = look.desired.etcd.is_some() && look.observed.members.seen().is_some();
    stacked && leads && free && !person(etcd::plan(look))
}

/// Whether the unit was started with its present inputs in this boot. One that has none and never had
/// any is as it should be.
pub(super) fn told(look: &Look<'_>, unit: &Unit) -> bool {
    let seen = look.observed.units.get(unit.name).and_then(Probe::seen);
    let never = seen.is_none_or(|seen| seen.inputs.is_none());
    (unit.files.is_empty() && never) || told_inputs(look, unit.name, &unit.inputs)
}

pub(super) fn told_inputs(look: &Look<'_>, name: &str, inputs: &str) -> bool {
    let seen = look.observed.units.get(name).and_then(Probe::seen);
    seen.and_then(|u| u.inputs.as_deref()) == Some(inputs)
}

/// What is waited for where the manager does not tell of a unit.
pub(super) fn silent(unit: &Unit, why: &str) -> String {
    format!("cannot ask systemd about {}: {why}", unit.name)
}

fn supervise(look: &Look<'_>, unit: &Unit, inputs: &str) -> Verdict {
    let seen = match look.observed.units.get(unit.name) {
        Some(Probe::Seen(seen)) => seen,
        Some(Probe::Unreadable(why)) => return Verdict::wait(silent(unit, why)),
        Some(Probe::Absent) | None => {
            return Verdict::blocked(
                format!("systemd knows no unit {}", unit.name),
                "the image lacks it: boot a complete image",
            );
        }
    };
    let mut actions = removals(look, unit.place);
    actions.extend(writes(look.observed, &unit.files));
    let told = told_inputs(look, unit.name, inputs);
    let (name, inputs) = (unit.name.to_owned(), inputs.to_owned());
    if !told || !actions.is_empty() {
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
