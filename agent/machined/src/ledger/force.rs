//! Which generation is in force: pure, from the entries and the present moment.
//!
//! A try counts in CLOCK_BOOTTIME of the boot that accepted it, so a wrong wall
//! clock neither shortens nor prolongs it, and a new boot ends it: whatever
//! made the machine restart, it comes back with the last confirmed generation.

use std::sync::Arc;

use super::entry::{Entry, Mode, State};

/// The present moment, as far as the ledger cares.
#[derive(Debug, Clone)]
pub struct Now {
    /// The kernel's boot id.
    pub boot_id: String,
    /// CLOCK_BOOTTIME in milliseconds.
    pub boottime_ms: u64,
    /// Wall clock in milliseconds since the epoch; written down for people.
    pub wall_ms: i64,
}

pub(super) fn state(entry: &Entry, now: &Now) -> State {
    let this_boot = entry.generation.boot_id == now.boot_id;
    match entry.generation.mode {
        _ if entry.reverted => State::Reverted,
        _ if entry.confirmed => State::Confirmed,
        Mode::Staged if this_boot => State::Staged,
        Mode::Auto | Mode::Staged => State::Confirmed,
        Mode::Try { .. } if left(entry, now) > 0 => State::Trying,
        Mode::Try { .. } => State::Reverted,
    }
}

/// Milliseconds until an unconfirmed try is over; 0 for anything else.
pub(super) fn left(entry: &Entry, now: &Now) -> u64 {
    match entry.generation.mode {
        Mode::Try { timeout_ms } if entry.generation.boot_id == now.boot_id => {
            let end = entry.generation.boottime_ms.saturating_add(timeout_ms);
            end.saturating_sub(now.boottime_ms)
        }
        _ => 0,
    }
}

/// The newest one that is neither reverted nor waiting for the next boot.
pub(super) fn current<'a>(entries: &'a [Arc<Entry>], now: &Now) -> Option<&'a Arc<Entry>> {
    let in_force = |e: &&Arc<Entry>| matches!(state(e, now), State::Confirmed | State::Trying);
    entries.iter().rev().find(in_force)
}

pub(super) fn trying(entries: &[Arc<Entry>], now: &Now) -> Option<u64> {
    let entry = current(entries, now)?;
    (state(entry, now) == State::Trying).then_some(entry.generation.number)
}

pub(super) fn expired(entries: &[Arc<Entry>], now: &Now) -> Vec<u64> {
    let over = |e: &&Arc<Entry>| !e.reverted && state(e, now) == State::Reverted;
    entries
        .iter()
        .filter(over)
        .map(|e| e.generation.number)
        .collect()
}

/// What every try falls back to.
pub(super) fn last_confirmed(entries: &[Arc<Entry>]) -> Option<u64> {
    let sure = |e: &&Arc<Entry>| !e.reverted && (e.confirmed || e.generation.mode == Mode::Auto);
    entries.iter().rev().find(sure).map(|e| e.generation.number)
}
