//! What the machine says of itself: the last look's plan, conditions, and a
//! bounded ring of numbered events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use machine_plan::desired::Desired;
use machine_plan::observed::Observed;
use machine_plan::verdict::Plan;
use tokio::sync::{broadcast, watch};

use crate::conditions::{Condition, Source};

/// Events kept for replay.
const KEPT: usize = 512;

/// A stage as shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageStatus {
    /// Its word.
    pub name: &'static str,
    /// "settled", "acting", "blocked", "held" or "failed".
    pub verdict: &'static str,
    /// Why, and what to do.
    pub message: String,
}

/// The whole of it, as of the last look.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Generation in force; 0 in maintenance.
    pub generation: u64,
    /// Whether every stage is settled.
    pub settled: bool,
    /// In the order of work.
    pub stages: Vec<StageStatus>,
    /// The node's Ready condition.
    pub node_ready: bool,
    /// Looks since the agent started.
    pub looks: u64,
}

/// The intermediates of the last look. They redact secrets when they are shown.
#[derive(Debug)]
pub struct Intermediates {
    /// What was seen.
    pub observed: Observed,
    /// What should be.
    pub desired: Arc<Desired>,
    /// One verdict per stage.
    pub plan: Plan,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// From 1 at each start of the agent.
    pub number: u64,
    /// Milliseconds since the epoch.
    pub time_ms: i64,
    /// "config", "stage", "action", "order", "condition" or "audit".
    pub kind: &'static str,
    /// What it is about.
    pub object: String,
    /// What happened.
    pub message: String,
}

/// Where status and events are put up for all to read.
pub struct Board {
    status: watch::Sender<Status>,
    intermediates: Mutex<Option<Arc<Intermediates>>>,
    ring: Mutex<Ring>,
    live: broadcast::Sender<Event>,
    conditions: Mutex<BTreeMap<Source, Vec<Condition>>>,
    console: fn(&str),
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Event>,
    last: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            status: watch::Sender::new(Status::default()),
            intermediates: Mutex::default(),
            ring: Mutex::default(),
            live: broadcast::Sender::new(KEPT),
            conditions: Mutex::default(),
            console: |_| {},
        }
    }
}

impl Board {
    /// One that also tells whoever stands before the machine.
    pub fn with_console(console: fn(&str)) -> Self {
        Self {
            console,
            ..Self::default()
        }
    }

    /// Everything that is wrong, by source.
    pub fn conditions(&self) -> Vec<Condition> {
        lock(&self.conditions).values().flatten().cloned().collect()
    }

    /// Puts up all that a source finds wrong now. What is new and what is over
    /// becomes an event and a word on the console, each once; a text that only
    /// reads differently is neither.
    pub fn wrong(&self, source: Source, mut found: Vec<Condition>) {
        let mut all = lock(&self.conditions);
        let before = all.remove(&source).unwrap_or_default();
        let had = |c: &Condition| before.iter().find(|old| old.same(c));
        for condition in &mut found {
            if let Some(old) = had(condition) {
                condition.since_ms = old.since_ms;
                continue;
            }
            condition.since_ms = now_ms();
            (self.console)(&condition.appears());
            let (word, message) = (condition.kind.word(), &condition.message);
            self.emit("condition", &condition.object, format!("{word}: {message}"));
        }
        for old in before
            .iter()
            .filter(|old| !found.iter().any(|c| c.same(old)))
        {
            (self.console)(&old.goes());
            self.emit(
                "condition",
                &old.object,
                format!("{}: over", old.kind.word()),
            );
        }
        all.insert(source, found);
    }

    /// The last look's status.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Puts up a look's result.
    pub fn publish(&self, status: Status, intermediates: Intermediates) {
        *lock(&self.intermediates) = Some(Arc::new(intermediates));
        self.status.send_replace(status);
    }

    /// The last look's intermediates; none before the first.
    pub fn intermediates(&self) -> Option<Arc<Intermediates>> {
        lock(&self.intermediates).clone()
    }

    /// Records an event and returns its number.
    pub fn emit(
        &self,
        kind: &'static str,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> u64 {
        let mut ring = lock(&self.ring);
        ring.last += 1;
        let (object, message) = (object.into(), message.into());
        tracing::info!(kind, object, "{message}");
        let event = Event {
            number: ring.last,
            time_ms: now_ms(),
            kind,
            object,
            message,
        };
        ring.events.push_back(event.clone());
        if ring.events.len() > KEPT {
            ring.events.pop_front();
        }
        // Nobody listening is fine. Sent under the lock, so that a subscriber
        // who copied the ring misses nothing and sees nothing twice.
        let _ = self.live.send(event);
        ring.last
    }

    /// Kept events from a number on, and those still to come.
    pub fn events_from(&self, number: u64) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let ring = lock(&self.ring);
        let kept = ring
            .events
            .iter()
            .filter(|e| e.number >= number)
            .cloned()
            .collect();
        (kept, self.live.subscribe())
    }

    /// The newest event's number.
    pub fn last_event(&self) -> u64 {
        lock(&self.ring).last
    }
}

/// The wall clock, milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
