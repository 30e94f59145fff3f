//! What has to be remembered between looks to say what is wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use machine_plan::desired::Desired;
use machine_plan::observed::{Observed, Probe};

use super::{Condition, Crashes, ETCD_SILENCE, Look, Looping, Seen, Source, of, quoted};
use crate::clock::{self, Accepted, Raised};
use crate::journal::Journal;
use crate::ledger::{Entry, Ledger};
use crate::node::pods;
use crate::status::{Board, StageStatus, now_ms};

/// A unit that stays up for this long is well: systemd starts them again after a second.
const UNIT_CALM: Duration = Duration::from_secs(60);

/// A container that does: kubelet waits up to five minutes.
const POD_CALM: Duration = Duration::from_secs(330);

/// A machine with something wrong is looked at this often, so that what is over
/// is said to be over.
const WRONG: Duration = Duration::from_secs(10);

/// How long a quotation of a unit's log is good for.
const QUOTE: Duration = Duration::from_secs(30);

/// The memory.
pub struct Watch {
    journal: Journal,
    raised: Option<Raised>,
    begun: Instant,
    crashes: Crashes,
    quotes: BTreeMap<String, (Instant, Vec<String>)>,
    ends: BTreeMap<String, String>,
    etcd_silent: Option<Instant>,
}

impl Watch {
    /// `raised`: what was done to the clock at the start.
    pub fn new(journal: Journal, raised: Option<Raised>) -> Self {
        Self {
            journal,
            raised,
            begun: Instant::now(),
            crashes: Crashes::default(),
            quotes: BTreeMap::new(),
            ends: BTreeMap::new(),
            etcd_silent: None,
        }
    }

    /// Puts up what a look found wrong.
    pub async fn tell(
        &mut self,
        board: &Board,
        ledger: &Ledger,
        entry: &Entry,
        (desired, observed): (&Desired, &Observed),
        stages: &[StageStatus],
    ) {
        let loops = self.loops(desired, observed).await;
        let (unreadable, unwritable) = (ledger.unreadable(), ledger.unwritable());
        let look = Look {
            observed,
            stages,
            unreadable: &unreadable,
            unwritable: unwritable.as_deref(),
            loops: &loops,
            etcd_silent: self.etcd_silent(desired, observed),
            clock: &self.clock(ledger, entry),
            before: &board.conditions(),
        };
        board.wrong(Source::Look, of(&look));
    }

    /// The longest pause until the next look.
    pub fn pause(&self, conditions: &[Condition]) -> Option<Duration> {
        let waits = self.etcd_silent.map(|since| {
            let left = ETCD_SILENCE.saturating_sub(since.elapsed());
            left + Duration::from_millis(100)
        });
        let wrong = (!conditions.is_empty()).then_some(WRONG);
        waits.into_iter().chain(wrong).min()
    }

    async fn loops(&mut self, desired: &Desired, observed: &Observed) -> Vec<Looping> {
        let now = self.begun.elapsed();
        let (mut loops, mut pods) = (Vec::new(), Vec::new());
        for (name, probe) in &observed.units {
            let Probe::Seen(unit) = probe else { continue };
            // While it starts again, its last result is not its last end's.
            if unit.result != "success" {
                let end = format!("{} (status {})", unit.result, unit.exit_status);
                self.ends.insert(name.clone(), end);
            }
            let seen = Seen {
                restarts: unit.restarts,
                up: unit.active_state == "active",
                calm: UNIT_CALM,
            };
            if let Some(running) = self.crashes.note(name, seen, now) {
                let quote = self.quote(name).await;
                let end = self.ends.get(name).cloned();
                loops.push(Looping {
                    name: name.clone(),
                    restarts: running.restarts,
                    end: Some(end.unwrap_or_else(|| "unknown".to_owned())),
                    log: quote,
                });
            } else {
                self.quotes.remove(name);
                if unit.restarts == 0 {
                    self.ends.remove(name);
                }
            }
        }
        for (name, restarts) in &observed.static_pods {
            let seen = Seen {
                restarts: *restarts,
                up: true,
                calm: POD_CALM,
            };
            if let Some(running) = self.crashes.note(name, seen, now) {
                pods.push((name, running));
            }
        }
        for (name, running) in pods {
            let log = pods::last_lines(name, &desired.hostname);
            loops.push(Looping {
                name: name.clone(),
                restarts: running.restarts,
                end: None,
                log: quoted(&log),
            });
        }
        loops
    }

    // Reading a log is a process; a loop's last lines are much the same each time.
    async fn quote(&mut self, unit: &str) -> Vec<String> {
        let fresh =
            |(at, quote): &&(Instant, Vec<String>)| at.elapsed() < QUOTE && !quote.is_empty();
        if let Some((_, quote)) = self.quotes.get(unit).filter(fresh) {
            return quote.clone();
        }
        let quote = quoted(&self.journal.last(unit).await);
        let kept = (Instant::now(), quote.clone());
        self.quotes.insert(unit.to_owned(), kept);
        quote
    }

    // A pod's silence counts while kubelet runs: without it etcd's absence is kubelet's.
    fn etcd_silent(&mut self, desired: &Desired, observed: &Observed) -> Option<Duration> {
        let unit = observed.units.get("kubelet.service").and_then(Probe::seen);
        let kubelet = unit.is_some_and(|unit| unit.active_state == "active");
        let told = desired.etcd.as_ref().is_some_and(|file| {
            let seen = observed.files.get(&file.path);
            matches!(seen, Some(Probe::Seen(_)))
        });
        let should = told && (desired.etcd_unit || kubelet);
        if !should || observed.etcd_health == Probe::Seen(()) {
            self.etcd_silent = None;
            return None;
        }
        Some(self.etcd_silent.get_or_insert_with(Instant::now).elapsed())
    }

    fn clock(&self, ledger: &Ledger, entry: &Entry) -> clock::View {
        let secrets = entry.bundle.secrets.as_ref();
        let authority = secrets.and_then(|s| machine_pki::inspect(&s.machine_ca.certificate).ok());
        clock::View {
            now_ms: now_ms(),
            newest: ledger.get(0).ok().map(|e| Accepted::of(&e.generation)),
            authority: authority.map(|facts| (facts.not_before, facts.not_after)),
            raised: self.raised,
            synchronized: crate::node::clock::synchronized(),
        }
    }
}
