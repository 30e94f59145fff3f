//! Who ends again and again: pure, from counters of restarts over time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Restarts within [`WINDOW`] that make a loop.
const MANY: u32 = 3;

/// How long a restart counts.
const WINDOW: Duration = Duration::from_secs(600);

/// A counter as seen in one look.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Restarts since it was started on purpose.
    pub restarts: u32,
    /// Whether it runs at this moment, which between two crashes says little.
    pub up: bool,
    /// How long it has to stay up until the loop is over: longer than the
    /// longest pause that its supervisor makes between two starts.
    pub calm: Duration,
}

/// A loop that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    /// Restarts within the last minutes, as far as they were seen.
    pub recent: u32,
    /// Restarts in all.
    pub restarts: u32,
}

#[derive(Default)]
struct History {
    counts: VecDeque<(Duration, u32)>,
    looping: bool,
}

/// What was seen of each name. Times are since any fixed moment.
#[derive(Default)]
pub struct Crashes(BTreeMap<String, History>);

impl Crashes {
    /// Takes in a look and says whether that name is in a loop.
    pub fn note(&mut self, name: &str, seen: Seen, now: Duration) -> Option<Loop> {
        let history = self.0.entry(name.to_owned()).or_default();
        let last = history.counts.back().copied();
        // Started on purpose since: what was before is no longer its story.
        if last.is_some_and(|(_, count)| count > seen.restarts) {
            *history = History::default();
        }
        let changed = last.is_none_or(|(_, count)| count != seen.restarts);
        if changed || history.counts.is_empty() {
            history.counts.push_back((now, seen.restarts));
        }
        // The newest count stays, as what the next one is compared with.
        while history.counts.len() > 1 && history.counts[0].0 + WINDOW < now {
            history.counts.pop_front();
        }
        let (since, _) = history.counts.back().copied().unwrap_or((now, 0));
        let first = history.counts.front().map_or(0, |(_, count)| *count);
        let recent = seen.restarts - first.min(seen.restarts);
        // An agent that has just started has seen nothing; one that finds it
        // down after many restarts need not wait for more.
        let begins = recent >= MANY || (seen.restarts >= MANY && !seen.up);
        let calm = seen.up && since + seen.calm <= now;
        history.looping = (history.looping || begins) && !calm;
        history.looping.then_some(Loop {
            recent,
            restarts: seen.restarts,
        })
    }
}
