//! Hostname, sysctls, modules, links, time servers.

use super::{Look, removals, writes};
use crate::action::Action;
use crate::observed::Probe;
use crate::verdict::Verdict;

pub(super) fn plan(look: &Look<'_>) -> Verdict {
    let mut actions = Vec::new();
    if look.observed.hostname != look.desired.hostname {
        actions.push(Action::SetHostname {
            name: look.desired.hostname.clone(),
        });
    }
    actions.extend(writes(look.observed, &look.desired.names));
    let mut silent = None;
    for unit in &look.desired.host {
        let mut files = removals(look, unit.place);
        files.extend(writes(look.observed, &unit.files));
        let told = super::units::told(look, unit);
        if files.is_empty() && told {
            continue;
        }
        // What was told is not known then, and the same again at each look would be a loop without a
        // pause.
        if let Some(Probe::Unreadable(why)) = look.observed.units.get(unit.name) {
            silent = Some(super::units::silent(unit, why));
            continue;
        }
        actions.extend(files);
        let (unit, inputs) = (unit.name.to_owned(), unit.inputs.clone());
        // networkd keeps its links through a reload; the others are one-shot
        // units or hold no connections.
        actions.push(if unit == "systemd-networkd.service" {
            Action::ReloadUnit { unit, inputs }
        } else {
            Action::RestartUnit { unit, inputs }
        });
    }
    if let Some(why) = silent
        && actions.is_empty()
    {
        return Verdict::wait(why);
    }
    // Nothing above the network can be right without the node's address.
    match look.observed.node_ip {
        Probe::Seen(_) => Verdict::act(actions),
        _ if !actions.is_empty() => Verdict::act(actions),
        _ => Verdict::blocked(
            "no address of this machine is the node's",
            "check the link and machine.nodeAddress.subnets",
        ),
    }
}
