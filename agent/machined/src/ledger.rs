//! The durable memory of the machine: accepted documents by generation, and
//! one-shot orders.
//!
//! On disk, version 1 (frozen in `ledger/tests.rs`), under one directory:
//! - `NNNNNNNNNN.generation`: a header line, a line of metadata, the document
//!   exactly as accepted. Never changed once written.
//! - `NNNNNNNNNN.confirmed`, `NNNNNNNNNN.reverted`: empty marks.
//! - `bootstrap.order`: the one-shot order, see [`orders`].
//! - `control-planes`: where they are, see [`control_planes`].
//! - `etcd.membership`: this machine's member of etcd, see [`membership`].
//! - `etcd.order`, `etcd-snapshot-SHA256`: the last order about it, and what came with it, see [`etcd`].
//!
//! Every write is: temporary file, fsync, rename, fsync of the directory; only
//! then is anything acknowledged. A power cut leaves either the old state or
//! the new one. What is in force is *computed* from these files each time, so
//! there is no pointer that could disagree with them.

mod control_planes;
mod entry;
mod etcd;
mod force;
mod membership;
mod orders;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine_config::Bundle;
use machine_plan::membership::Membership;
use machine_plan::order::{EtcdOrder, EtcdVerb};

use crate::durable;

pub use entry::{Entry, Generation, Mode, State};
pub use force::Now;
pub use orders::{BootstrapOrder, OrderState};

/// Generations kept; the one in force and the last confirmed are kept beyond it.
const KEPT: usize = 64;

/// What the ledger refuses or cannot do.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file operation failed; nothing was acknowledged.
    #[error("ledger: cannot {operation} {}", path.display())]
    Io {
        /// The operation, in words.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else wrote first.
    #[error("the newest generation is {newest}, not {expected}: read it again, then repeat")]
    Stale {
        /// What the caller expected.
        expected: u64,
        /// What is there.
        newest: u64,
    },
    /// No such generation, or not a readable one.
    #[error("generation {0} is not in the ledger, or cannot be read")]
    Missing(u64),
    /// Nothing is being tried.
    #[error("no try is pending: there is nothing to confirm")]
    NoTry,
    /// Another generation is being tried.
    #[error("generation {pending} is being tried, not {asked}")]
    OtherTry {
        /// The one that is.
        pending: u64,
        /// The one asked for.
        asked: u64,
    },
    /// This machine has been a member already.
    #[error(
        "bootstrap was ordered before as {id} and the cluster was made; a second one would lose it"
    )]
    Bootstrapped {
        /// The finished order.
        id: String,
    },
}

/// A document on its way into the ledger.
pub struct Acceptance {
    /// The stream exactly as received.
    pub text: String,
    /// What it says, already valid.
    pub bundle: Bundle,
    /// The sender's wall clock, milliseconds since the epoch, where it told it.
    pub sent_ms: Option<i64>,
    /// The sender's identity.
    pub by: String,
    /// When it takes force.
    pub mode: Mode,
    /// Refused unless this is the newest generation's number.
    pub expected: Option<u64>,
}

/// See the module's text. Its methods do blocking file work, fsync included.
pub struct Ledger {
    directory: PathBuf,
    clock: Box<dyn Fn() -> Now + Send + Sync>,
    inner: Mutex<Inner>,
    /// Why the last write failed.
    trouble: Mutex<Option<String>>,
}

struct Inner {
    entries: Vec<Arc<Entry>>,
    unreadable: Vec<(u64, String)>,
    newest: u64,
}

impl Ledger {
    /// Reads what is there; a file that cannot be read is named in
    /// [`Ledger::unreadable`] and passed over, never deleted.
    pub fn open(
        directory: &Path,
        clock: impl Fn() -> Now + Send + Sync + 'static,
    ) -> Result<Self, LedgerError> {
        durable::make_directories(directory).map_err(io("make", directory))?;
        etcd::tidy_up(directory);
        let (entries, unreadable, newest) = entry::read_all(directory)?;
        let inner = Mutex::new(Inner {
            entries,
            unreadable,
            newest,
        });
        Ok(Self {
            directory: directory.to_owned(),
            clock: Box::new(clock),
            inner,
            trouble: Mutex::default(),
        })
    }

    /// Why the ledger cannot be written, if a write failed and a trial write
    /// fails still: room that is there again is noticed without a new document.
    pub fn unwritable(&self) -> Option<String> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref()?;
        let path = self.directory.join("trial");
        let trial = durable::replace(&path, b"machined", 0o600).map_err(io("write", &path));
        let _ = std::fs::remove_file(&path);
        *trouble = trial.err().map(|e| told(&e));
        trouble.clone()
    }

    fn watched<T>(&self, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if let Err(error @ LedgerError::Io { .. }) = &result {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            *trouble = Some(told(error));
        }
        result
    }

    /// The generation in force now, if any.
    pub fn current(&self) -> Option<Arc<Entry>> {
        force::current(&self.lock().entries, &(self.clock)()).cloned()
    }

    /// The readable entry with this number; 0 is the newest.
    pub fn get(&self, number: u64) -> Result<Arc<Entry>, LedgerError> {
        let inner = self.lock();
        let found = match number {
            0 => inner.entries.last(),
            n => inner.entries.iter().find(|e| e.generation.number == n),
        };
        found.cloned().ok_or(LedgerError::Missing(number))
    }

    /// All readable generations, oldest first, with their state now.
    pub fn list(&self) -> Vec<(Generation, State)> {
        let (inner, now) = (self.lock(), (self.clock)());
        inner
            .entries
            .iter()
            .map(|e| (e.generation.clone(), force::state(e, &now)))
            .collect()
    }

    /// Files that are there and cannot be used, in words. Damage older than the
    /// newest good generation concerns nobody any more.
    pub fn unreadable(&self) -> Vec<String> {
        let inner = self.lock();
        let newest = inner.entries.last().map_or(0, |e| e.generation.number);
        let damage = inner.unreadable.iter().filter(|(n, _)| *n >= newest);
        damage.map(|(_, why)| why.clone()).collect()
    }

    /// Stores a document. Durable when it returns.
    pub fn accept(&self, acceptance: Acceptance) -> Result<u64, LedgerError> {
        let mut inner = self.lock();
        if let Some(expected) = acceptance.expected.filter(|e| *e != inner.newest) {
            return Err(LedgerError::Stale {
                expected,
                newest: inner.newest,
            });
        }
        let entry = Entry::new(inner.newest + 1, acceptance, &(self.clock)());
        self.watched(entry.write(&self.directory))?;
        inner.newest = entry.generation.number;
        inner.entries.push(Arc::new(entry));
        self.prune(&mut inner);
        Ok(inner.newest)
    }

    /// Makes the pending try permanent. `None`: whichever is pending.
    pub fn confirm(&self, generation: Option<u64>) -> Result<u64, LedgerError> {
        let mut inner = self.lock();
        let now = (self.clock)();
        let pending = force::trying(&inner.entries, &now).ok_or(LedgerError::NoTry)?;
        if let Some(asked) = generation.filter(|g| *g != pending) {
            return Err(LedgerError::OtherTry { pending, asked });
        }
        self.watched(entry::mark(&self.directory, pending, "confirmed"))?;
        entry::change(&mut inner.entries, pending, |e| e.confirmed = true);
        Ok(pending)
    }

    /// When the pending try goes back by itself: its generation and the
    /// milliseconds left.
    pub fn pending_try(&self) -> Option<(u64, u64)> {
        let (inner, now) = (self.lock(), (self.clock)());
        let number = force::trying(&inner.entries, &now)?;
        let entry = inner
            .entries
            .iter()
            .find(|e| e.generation.number == number)?;
        Some((number, force::left(entry, &now)))
    }

    /// Marks tries whose time is over as reverted and returns their numbers.
    /// Only a record for people: an expired try is out of force without it.
    pub fn sweep(&self) -> Result<Vec<u64>, LedgerError> {
        let mut inner = self.lock();
        let now = (self.clock)();
        let over = force::expired(&inner.entries, &now);
        for number in &over {
            self.watched(entry::mark(&self.directory, *number, "reverted"))?;
            entry::change(&mut inner.entries, *number, |e| e.reverted = true);
        }
        Ok(over)
    }

    /// Makes an old generation's document the newest one.
    pub fn rollback(
        &self,
        number: u64,
        expected: Option<u64>,
        by: String,
    ) -> Result<u64, LedgerError> {
        let old = self.get(number)?;
        self.accept(Acceptance {
            text: old.text.expose().to_owned(),
            bundle: old.bundle.clone(),
            sent_ms: None,
            by,
            mode: Mode::Auto,
            expected,
        })
    }

    /// Records the order to make this machine the first member of a new
    /// cluster; the same order again is the same id.
    pub fn order_bootstrap(&self, by: &str) -> Result<String, LedgerError> {
        let _one_writer = self.lock();
        self.watched(orders::order(&self.directory, by, &(self.clock)()))
    }

    /// The order, if there is one.
    pub fn bootstrap_order(&self) -> Result<Option<BootstrapOrder>, LedgerError> {
        orders::read(&self.directory)
    }

    /// Whether an order is being carried out.
    pub fn founding(&self) -> bool {
        orders::founding(&self.directory)
    }

    /// Records that the cluster exists; the order is never acted on again.
    pub fn finish_bootstrap(&self) -> Result<(), LedgerError> {
        let _one_writer = self.lock();
        self.watched(orders::finish(&self.directory))
    }

    /// Where control planes are, as last kept. What cannot be read is asked of the cluster again.
    pub fn control_planes(&self) -> Vec<IpAddr> {
        control_planes::read(&self.directory)
    }

    /// Keeps where control planes are, durably.
    pub fn keep_control_planes(&self, addresses: &[IpAddr]) -> Result<(), LedgerError> {
        self.watched(control_planes::keep(&self.directory, addresses))
    }

    /// What is remembered of this machine's member of etcd.
    pub fn membership(&self) -> Result<Option<Membership>, LedgerError> {
        membership::read(&self.directory)
    }

    /// Keeps it. Durable when it returns.
    pub fn keep_membership(&self, membership: &Membership) -> Result<(), LedgerError> {
        let _one_writer = self.lock();
        self.watched(membership::keep(&self.directory, membership))
    }

    /// Forgets it.
    pub fn forget_membership(&self) -> Result<(), LedgerError> {
        let _one_writer = self.lock();
        self.watched(membership::forget(&self.directory))
    }

    /// Records an order about etcd; the same order again, while it is open, is the same id.
    pub fn order_etcd(&self, verb: EtcdVerb, by: &str) -> Result<String, LedgerError> {
        let _one_writer = self.lock();
        self.watched(etcd::order(&self.directory, verb, by, &(self.clock)()))
    }

    /// The last order about etcd, carried out or not.
    pub fn etcd_order(&self) -> Result<Option<EtcdOrder>, LedgerError> {
        etcd::read(&self.directory)
    }

    /// Records that it was carried out; it is never acted on again.
    pub fn finish_etcd_order(&self, id: &str) -> Result<(), LedgerError> {
        let _one_writer = self.lock();
        self.watched(etcd::finish(&self.directory, id))
    }

    /// Takes the last order about etcd back: this machine joins again.
    pub fn forget_etcd_order(&self) -> Result<(), LedgerError> {
        let _one_writer = self.lock();
        self.watched(etcd::forget(&self.directory))
    }

    /// Where a snapshot with this hexadecimal digest is kept until its order is carried out.
    pub fn etcd_snapshot(&self, sha256: &str) -> PathBuf {
        etcd::snapshot(&self.directory, sha256)
    }

    fn prune(&self, inner: &mut Inner) {
        let now = (self.clock)();
        let current = force::current(&inner.entries, &now).map(|e| e.generation.number);
        let fallback = force::last_confirmed(&inner.entries);
        while inner.entries.len() > KEPT {
            let number = inner.entries[0].generation.number;
            if Some(number) == current || Some(number) == fallback {
                break;
            }
            // A leftover costs a few kilobytes and is tried again next time.
            entry::remove(&self.directory, number);
            inner.entries.remove(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(error: &LedgerError) -> String {
    match error {
        LedgerError::Io { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Io {
        operation,
        path,
        source,
    }
}
