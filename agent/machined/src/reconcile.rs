//! The one hand that changes the machine: look, plan, act, look again.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use machine_config::ClusterSecrets;
use machine_plan::action::Action;
use machine_plan::desired::Desired;
use machine_plan::facts::HostFacts;
use machine_plan::membership::Membership;
use machine_plan::observed::Observed;
use machine_plan::render::TOKEN_LIFETIME;
use machine_plan::stages::{Stage, plan};
use machine_plan::verdict::{Plan, Verdict};
use tokio::sync::Notify;

use crate::conditions::{Condition, Kind, Source, Watch};
use crate::ledger::{Entry, Ledger};
use crate::node::Node;
use crate::status::{Board, Intermediates, StageStatus, Status};
use crate::watchdog::Watchdog;

/// Between looks while something is waited for, and for so many of them: quick at first, because most
/// waits are short and other machines wait for this one in turn, then calm.
const QUICK: (usize, Duration) = (30, Duration::from_millis(250));
const WAITING: (usize, Duration) = (22, Duration::from_secs(1));
const CALM: Duration = Duration::from_secs(5);

/// The rest after a look is so many times the processor time it took: where processors are slow, or are
/// shared by machines that wait for each other, looks are no more than a tenth of the time. What it only
/// waited for, an API server that starts elsewhere, is a reason to rest for as long, and no longer.
const REST: u32 = 9;

/// The pause after so many looks that changed nothing, the last of which lasted for `whole` and `took` so
/// much of a processor.
fn waiting(looks: usize, whole: Duration, took: Duration) -> Duration {
    let pause = match looks {
        looks if looks < QUICK.0 => QUICK.1,
        looks if looks < QUICK.0 + WAITING.0 => WAITING.1,
        _ => CALM,
    };
    pause.max((took * REST).max(whole).min(CALM))
}

/// This process's time on processors so far.
fn processor() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// Between looks at a settled machine. What changes in between wakes the loop;
/// this only bounds how long a certificate that came due, or a change that no
/// ear hears, can go unseen.
const SETTLED: Duration = Duration::from_secs(300);

/// Wakes the loop. Any number of wakes before a look are one.
#[derive(Clone, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Asks for a look soon.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    async fn woken(&self) {
        self.0.notified().await;
    }
}

/// The loop's parts.
pub struct Reconciler {
    /// What it acts on.
    pub node: Arc<Node>,
    /// Where documents and orders come from.
    pub ledger: Arc<Ledger>,
    /// Where it says what it sees.
    pub board: Arc<Board>,
    /// What cuts its waits short.
    pub wake: Wake,
    /// Told of every look, so that a hung loop is noticed.
    pub watchdog: Watchdog,
    /// What it remembers of what was wrong.
    pub watch: Watch,
}

/// What was desired last, and from which generation, facts, token's end and membership.
type Known = (
    (u64, HostFacts, Option<SystemTime>, Option<Membership>),
    Arc<Desired>,
);

struct Outcome {
    stage: Stage,
    changed: bool,
    failure: Option<String>,
}

impl Reconciler {
    /// Runs until the task is dropped.
    pub async fn run(mut self) {
        let mut patience = 0;
        let mut looks = 0;
        let (mut before, mut known) = (Vec::new(), None);
        loop {
            self.watchdog.sign();
            self.sweep();
            let Some(entry) = self.ledger.current() else {
                self.rest(SETTLED).await;
                continue;
            };
            looks += 1;
            let Some(secrets) = &entry.bundle.secrets else {
                // Enrolment and apply refuse such a stream; a ledger written by
                // hand may still hold one.
                let message = "the document in force has no secrets";
                let wrong = Condition::new(Kind::SecretsMissing, "ledger", message);
                self.board.wrong(Source::Look, vec![wrong]);
                self.rest(SETTLED).await;
                continue;
            };
            let (begun, processor_before) = (Instant::now(), processor());
            let (plan, observed, desired) = self.look(&entry, secrets, &mut known).await;
            let took = processor().saturating_sub(processor_before);
            let whole = begun.elapsed();
            let outcomes = self.act(&entry, &plan, &before).await;
            let stages = stages(&plan, &outcomes);
            self.tell(&before, &stages);
            let settled = plan.settled();
            let told = (desired.as_ref(), &observed);
            let (board, ledger) = (&self.board, &self.ledger);
            self.watch.tell(board, ledger, &entry, told, &stages).await;
            let node_ready = observed.node.seen().is_some_and(|node| node.ready);
            let intermediates = Intermediates {
                observed,
                desired,
                plan,
            };
            self.publish(&entry, intermediates, node_ready, &stages, looks);
            before = stages;

            if outcomes.iter().any(|o| o.changed) {
                patience = 0;
                // Failures of other stages in the same pass must not spin.
                if outcomes.iter().all(|o| o.failure.is_none()) {
                    continue;
                }
            }
            let pause = if settled {
                SETTLED
            } else {
                waiting(patience, whole, took)
            };
            let pause = self.ledger.pending_try().map_or(pause, |(_, left)| {
                pause.min(Duration::from_millis(left + 1))
            });
            let pause = self
                .watch
                .pause(&self.board.conditions())
                .map_or(pause, |soon| pause.min(soon));
            patience = if settled { 0 } else { patience + 1 };
            if self.rest(pause).await {
                patience = 0;
            }
        }
    }

    /// Whether it was woken.
    async fn rest(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = self.wake.woken() => true,
        }
    }

    async fn look(
        &self,
        entry: &Entry,
        secrets: &ClusterSecrets,
        known: &mut Option<Known>,
    ) -> (Plan, Observed, Arc<Desired>) {
        let now = unix_seconds();
        let facts = self.node.facts(entry);
        let desired = self.desired(entry, secrets, &facts, known);
        let observed = self.node.observe(entry, &desired, &facts).await;
        (plan(&desired, &observed, now), observed, desired)
    }

    // The same document and facts make the same wish: rendering it anew at every
    // look would cost more than the look.
    fn desired(
        &self,
        entry: &Entry,
        secrets: &ClusterSecrets,
        facts: &HostFacts,
        known: &mut Option<Known>,
    ) -> Arc<Desired> {
        // One that cannot be read is said by the look, and nothing is begun without it.
        let joined = self.ledger.membership().ok().flatten();
        let from = (
            entry.generation.number,
            facts.clone(),
            self.token_expires(),
            joined,
        );
        if let Some((known, desired)) = known
            && *known == from
        {
            return Arc::clone(desired);
        }
        let desired = Desired::new(
            &entry.bundle.config,
            secrets,
            facts,
            from.2,
            from.3.as_ref(),
        );
        let desired = Arc::new(desired);
        *known = Some((from, Arc::clone(&desired)));
        desired
    }

    // Counted from the order to bootstrap, so that a new agent or a new boot
    // never prolongs a token's life.
    fn token_expires(&self) -> Option<SystemTime> {
        let order = self.ledger.bootstrap_order().ok().flatten()?;
        let ordered = UNIX_EPOCH + Duration::from_millis(u64::try_from(order.ordered_ms).ok()?);
        Some(ordered + TOKEN_LIFETIME).filter(|end| *end > SystemTime::now())
    }

    // Stages that act do not depend on each other (a stage is held until its
    // needs are settled), so they act at once; within a stage order matters.
    async fn act(&self, entry: &Entry, plan: &Plan, before: &[StageStatus]) -> Vec<Outcome> {
        let acting = plan
            .stages
            .iter()
            .filter_map(|(stage, verdict)| match verdict {
                Verdict::Act { actions } => Some(self.act_stage(entry, *stage, actions, before)),
                _ => None,
            });
        join_all(acting).await
    }

    async fn act_stage(
        &self,
        entry: &Entry,
        stage: Stage,
        actions: &[Action],
        before: &[StageStatus],
    ) -> Outcome {
        let mut changed = false;
        for action in actions {
            if let Err(e) = self.node.execute(entry, action).await {
                let failure = e.to_string();
                // What fails again as it did is no news.
                let same = |s: &StageStatus| s.name == stage.word() && s.message == failure;
                if !before.iter().any(|s| same(s) && s.verdict == "failed") {
                    self.board
                        .emit("action", action.object(), format!("{action}: {failure}"));
                }
                return Outcome {
                    stage,
                    changed,
                    failure: Some(failure),
                };
            }
            changed = true;
            self.board
                .emit("action", action.object(), action.to_string());
        }
        Outcome {
            stage,
            changed,
            failure: None,
        }
    }

    fn sweep(&self) {
        match self.ledger.sweep() {
            Ok(over) => {
                for number in over {
                    let back = self.ledger.current().map_or(0, |e| e.generation.number);
                    let message = format!("not confirmed in time: back to generation {back}");
                    self.board
                        .emit("config", format!("generation {number}"), message);
                }
            }
            // The ledger remembers, and the look says so.
            Err(error) => tracing::warn!(%error, "cannot mark what was not confirmed"),
        }
    }

    fn tell(&self, before: &[StageStatus], now: &[StageStatus]) {
        for stage in now {
            if !before.contains(stage) && stage.verdict != "acting" {
                let message = match stage.message.as_str() {
                    "" => stage.verdict.to_owned(),
                    why => format!("{}: {why}", stage.verdict),
                };
                self.board.emit("stage", stage.name, message);
            }
        }
    }

    fn publish(
        &self,
        entry: &Entry,
        intermediates: Intermediates,
        node_ready: bool,
        stages: &[StageStatus],
        looks: u64,
    ) {
        let status = Status {
            generation: entry.generation.number,
            settled: intermediates.plan.settled(),
            stages: stages.to_vec(),
            node_ready,
            looks,
        };
        self.board.publish(status, intermediates);
    }
}

fn stages(plan: &Plan, outcomes: &[Outcome]) -> Vec<StageStatus> {
    let one = |(stage, verdict): &(Stage, Verdict)| {
        let failed = outcomes
            .iter()
            .find(|o| o.stage == *stage)
            .and_then(|o| o.failure.clone());
        let (verdict, message) = match (verdict, failed) {
            (_, Some(why)) => ("failed", why),
            (Verdict::Settled, _) => ("settled", String::new()),
            (Verdict::Act { actions }, _) => {
                let names: Vec<_> = actions.iter().map(ToString::to_string).collect();
                ("acting", names.join(", "))
            }
            (
                Verdict::Blocked {
                    reason,
                    next_step: None,
                },
                _,
            ) => ("blocked", reason.clone()),
            (
                Verdict::Blocked {
                    reason,
                    next_step: Some(step),
                },
                _,
            ) => ("blocked", format!("{reason}; next: {step}")),
            (Verdict::Held { by }, _) => ("held", format!("waits for {}", by.word())),
        };
        StageStatus {
            name: stage.word(),
            verdict,
            message,
        }
    };
    plan.stages.iter().map(one).collect()
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_quick_then_calm_and_never_busy() {
        let quick = Duration::from_millis(10);
        let pauses: Vec<_> = (0..60).map(|looks| waiting(looks, quick, quick)).collect();
        assert!(pauses.is_sorted() && pauses[0] < WAITING.1 && pauses[59] == CALM);
        // Half a minute in which nobody waits for more than a second.
        let patient = &pauses[..QUICK.0 + WAITING.0];
        assert!(patient.iter().sum::<Duration>() >= Duration::from_secs(28));
        let slow = Duration::from_millis(300);
        assert_eq!(waiting(0, slow, slow), slow * REST);
        // It waited for somebody else.
        assert_eq!(waiting(0, slow, quick), slow);
        // However slow: what is waited for may have come.
        let minute = Duration::from_secs(60);
        assert_eq!(waiting(0, minute, minute), CALM);
    }
}
