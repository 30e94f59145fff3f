//! Authorities' files, then the leaves that they sign.

use super::{Look, writes};
use crate::action::Action;
use crate::observed::Probe;
use crate::render::Leaf;
use crate::verdict::Verdict;

pub(super) fn plan(look: &Look<'_>) -> Verdict {
    let mut actions = writes(look.observed, &look.desired.authorities);
    for leaf in &look.desired.leaves {
        if let Some(why) = unfit(look, leaf) {
            actions.push(Action::IssueLeaf {
                leaf: Box::new(leaf.clone()),
                why,
            });
        }
    }
    Verdict::act(actions)
}

fn unfit(look: &Look<'_>, leaf: &Leaf) -> Option<String> {
    match look.observed.leaves.get(leaf.name) {
        Some(Probe::Seen(seen)) if !seen.key_matches => Some("its key is another one's".to_owned()),
        Some(Probe::Seen(seen)) if !seen.authority_matches => {
            Some("another authority signed it".to_owned())
        }
        Some(Probe::Seen(seen)) if seen.server.as_deref() != leaf.server() => {
            Some("it points at another server".to_owned())
        }
        Some(Probe::Seen(seen)) => leaf
            .wanted(&seen.facts, look.now)
            .err()
            .map(|w| w.to_string()),
        Some(Probe::Unreadable(why)) => Some(format!("it cannot be read: {why}")),
        Some(Probe::Absent) | None => Some("it is not there".to_owned()),
    }
}
