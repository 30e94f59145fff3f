//! What a watch of many objects has said, for as long as it goes on: a look need not list them, and
//! costs the same however many there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine_plan::observed::PeerSeen;
use machine_plan::serving::ServingRequest;

/// What has a name.
pub trait Named: Clone + PartialEq {
    /// Its name.
    fn name(&self) -> &str;
}

impl Named for PeerSeen {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for ServingRequest {
    fn name(&self) -> &str {
        &self.name
    }
}

type Known<T> = Option<BTreeMap<String, T>>;

/// Between the watch and the looks.
pub struct Watched<T: Named>(Arc<Mutex<Known<T>>>);

/// The watch's end. Dropped, nothing is known any more.
pub struct Going<T: Named>(Watched<T>);

impl<T: Named> Default for Watched<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Named> Watched<T> {
    /// A watch goes on from these, which are all.
    pub fn begin(&self, all: impl IntoIterator<Item = T>) -> Going<T> {
        let named = |one: T| (one.name().to_owned(), one);
        *self.lock() = Some(all.into_iter().map(named).collect());
        Going(Self(Arc::clone(&self.0)))
    }

    /// All of them; `None` while nobody watches.
    pub fn all(&self) -> Option<Vec<T>> {
        self.lock()
            .as_ref()
            .map(|known| known.values().cloned().collect())
    }

    /// All but this one; `None` while nobody watches.
    pub fn others(&self, this: &str) -> Option<Vec<T>> {
        let known = self.lock();
        let others = known.as_ref()?.values().filter(|one| one.name() != this);
        Some(others.cloned().collect())
    }

    /// One is gone, by this machine's own doing or as the watch says; says whether it was there.
    pub fn gone(&self, name: &str) -> bool {
        let mut known = self.lock();
        known
            .as_mut()
            .is_some_and(|known| known.remove(name).is_some())
    }

    fn lock(&self) -> MutexGuard<'_, Known<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Named> Going<T> {
    /// One is there, or is another; says whether that is news.
    pub fn seen(&self, one: T) -> bool {
        let mut known = self.0.lock();
        let known = known.get_or_insert_default();
        known.get(one.name()) != Some(&one) && {
            known.insert(one.name().to_owned(), one);
            true
        }
    }

    /// One is gone; says whether it was there.
    pub fn gone(&self, name: &str) -> bool {
        self.0.gone(name)
    }
}

impl<T: Named> Drop for Going<T> {
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
        let watched = Watched::<PeerSeen>::default();
        assert_eq!(watched.others("a"), None);
        assert_eq!(watched.all(), None);
        let going = watched.begin([node("a", true), node("b", false)]);
        assert_eq!(watched.others("a"), Some(vec![node("b", false)]));
        assert_eq!(watched.all().unwrap().len(), 2);
        assert!(!going.seen(node("b", false)));
        assert!(going.seen(node("b", true)));
        assert!(going.seen(node("c", false)));
        assert!(going.gone("c") && !going.gone("c"));
        assert_eq!(watched.others("a"), Some(vec![node("b", true)]));
        drop(going);
        assert_eq!(watched.others("a"), None);
    }
}
