//! Certificates that kubelets of the cluster serve with.

use super::Look;
use crate::action::Action;
use crate::observed::Probe;
use crate::serving::Cluster;
use crate::verdict::Verdict;

/// As many are approved in one look. The next one is at once.
const AT_ONCE: usize = 16;

/// So many things are said of what one node asks for, until none of it is left.
const MOST_TOLD: usize = 8;

/// A kubelet asks before its node is known, or known by a new address: that is no news for so many
/// seconds.
const PATIENCE: i64 = 60;

/// What is right is approved, by whichever control plane sees it first. What is not stays as it is, for
/// people to decide on: it is no fault of this machine, and nothing of it waits for that.
pub(super) fn plan(look: &Look<'_>) -> Verdict {
    let observed = look.observed;
    let (Probe::Seen(requests), Probe::Seen(peers)) = (&observed.serving, &observed.peers) else {
        return Verdict::Settled;
    };
    // Of a node that cannot be read nothing is known: it may be the one that asks.
    if !look.desired.role.is_control_plane() || matches!(observed.node, Probe::Unreadable(_)) {
        return Verdict::Settled;
    }
    let cluster = Cluster::new(look.desired, observed.node.seen(), peers);
    let mut told = observed.serving_told.clone();
    let (mut right, mut others) = (Vec::new(), Vec::new());
    for request in requests {
        let name = request.name.clone();
        match request.judged(&cluster) {
            Ok(node) => right.push(Action::ApproveServing {
                name,
                uid: request.uid.clone(),
                node: node.to_owned(),
            }),
            Err(left) if left.for_good || look.now - request.made >= PATIENCE => {
                let (whom, why) = (request.whom(), left.why);
                let told = told.entry(whom.clone()).or_default();
                if told.len() < MOST_TOLD && told.insert(why.clone()) {
                    others.push(Action::TellServing { name, whom, why });
                }
            }
            Err(_) => {}
        }
    }
    right.truncate(AT_ONCE);
    right.extend(others);
    Verdict::act(right)
}
