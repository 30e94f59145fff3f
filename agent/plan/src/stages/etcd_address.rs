//! Where this machine's member of etcd is, by the cluster's list and by its own address, which may change.

use super::Look;
use super::etcd::{find, promotion};
use crate::action::Action;
use crate::membership::{Member, address_of};
use crate::verdict::Verdict;

/// This machine's member in the list.
pub(super) fn own<'a>(look: &Look<'_>, members: &'a [Member]) -> Option<&'a Member> {
    match look.observed.membership.seen() {
        Some(joined) => find(members, joined.id),
        None => {
            let url = &look.desired.etcd_peer_url;
            members.iter().find(|m| m.peer_urls.contains(url))
        }
    }
}

/// The same, of a machine whose member has begun. Where the first one's address changes before it knows
/// its number, it is found by its name: only its own member was asked.
pub(super) fn begun<'a>(look: &Look<'_>, members: &'a [Member]) -> Option<&'a Member> {
    let first = look.observed.membership.seen().is_none();
    let name = &look.desired.hostname;
    let named = || members.iter().find(|m| first && m.name == *name);
    own(look, members).or_else(named)
}

/// Whether this machine has no address.
pub(super) fn away(peer_url: &str) -> bool {
    address_of(peer_url).is_some_and(|ip| ip.is_unspecified())
}

/// Whether the others look for this machine's member where it does not listen: the list has the new
/// address already, or an old one that the machine has no more.
pub(super) fn lost(look: &Look<'_>, own: &Member) -> bool {
    let told = own.peer_urls.contains(&look.desired.etcd_peer_url);
    let there = |ip| look.observed.addresses.contains(&ip);
    look.observed.etcd_astray && (told || !own.address().is_some_and(there))
}

/// Whether its member answers at its address of now. To be listed there is all it needs, whatever else
/// is new, and takes it from nobody: others that could not do without it find it by that.
pub(super) fn there(look: &Look<'_>, own: &Member) -> bool {
    !look.observed.etcd_astray && own.answers()
}

/// The cluster looks for this machine's member where it is no more, or soon will be: it is told before
/// the manifest is changed, so that a power cut in between leaves only that to be done.
pub(super) fn moved(look: &Look<'_>, members: &[Member], own: &Member) -> Option<Verdict> {
    let (url, name) = (&look.desired.etcd_peer_url, &look.desired.hostname);
    if own.peer_urls.contains(url) || away(url) {
        return None;
    }
    if let Some(other) = members.iter().find(|m| m.peer_urls.contains(url)) {
        return Some(Verdict::blocked(
            format!(
                "this machine's address {url} is that of member {}",
                other.shown()
            ),
            format!(
                "give this machine another address; or if {0} is gone: machinectl etcd remove {1}",
                other.shown(),
                other.id
            ),
        ));
    }
    if own.learner {
        // etcd up to 3.6.11 takes a learner that is told of elsewhere for a voter.
        let promoted = || promotion(members, own);
        let waits = || Verdict::wait("etcd's new address waits until its member has its vote");
        return Some(match own.answers() {
            true => promoted().unwrap_or_else(waits),
            false => Verdict::blocked(
                "this machine's address changed before its member of etcd had its vote",
                format!("machinectl etcd leave --discard -n {name}: it then joins anew"),
            ),
        });
    }
    Some(Verdict::act(vec![Action::UpdateMember {
        id: own.id,
        name: own.shown().to_owned(),
        peer_url: url.clone(),
    }]))
}

#[cfg(test)]
#[path = "etcd_address_tests.rs"]
mod tests;
