//! What the watch of all nodes has said, for as long as it goes on: a look need not list them, and
//! costs the same however many there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine_plan::observed::PeerSeen;

type Known = Option<BTreeMap<String, PeerSeen>>;

/// Between the watch and the looks.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<Known>>);

/// The watch's end. Dropped, nothing is known any more.
pub struct Going(Watched);

impl Watched {
    /// A watch goes on from these nodes, which are all.
    pub fn begin(&self, nodes: impl IntoIterator<Item = PeerSeen>) -> Going {
        let named = |node: PeerSeen| (node.name.clone(), node);
        *self.lock() = Some(nodes.into_iter().map(named).collect());
        Going(self.clone())
    }

    /// All nodes but this one; `None` while nobody watches.
    pub fn others(&self, this: &str) -> Option<Vec<PeerSeen>> {
        let known = self.lock();
        let others = known.as_ref()?.values().filter(|node| node.name != this);
        Some(others.cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Going {
    /// A node is there, or is another; says whether that is news.
    pub fn seen(&self, node: PeerSeen) -> bool {
        let mut known = self.0.lock();
        let known = known.get_or_insert_default();
        known.get(&node.name) != Some(&node) && {
            known.insert(node.name.clone(), node);
            true
        }
    }

    /// A node is gone; says whether it was there.
    pub fn gone(&self, name: &str) -> bool {
        let mut known = self.0.lock();
        known
            .as_mut()
            .is_some_and(|known| known.remove(name).is_some())
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, control_plane: bool) -> PeerSeen {
        PeerSeen {
            name: name.to_owned(),
            control_plane,
            ..PeerSeen::default()
        }
    }

    #[test]
    fn nodes_are_known_for_as_long_as_the_watch_goes_on() {
        let watched = Watched::default();
        assert_eq!(watched.others("a"), None);
        let going = watched.begin([node("a", true), node("b", false)]);
        assert_eq!(watched.others("a"), Some(vec![node("b", false)]));
        assert!(!going.seen(node("b", false)));
        assert!(going.seen(node("b", true)));
        assert!(going.seen(node("c", false)));
        assert!(going.gone("c") && !going.gone("c"));
        assert_eq!(watched.others("a"), Some(vec![node("b", true)]));
        drop(going);
        assert_eq!(watched.others("a"), None);
    }
}
