//! A load that does not wait: a question each 50 ms, on a connection of its own, whatever became of
//! those before. So the time without an answer is the server's and not the client's patience.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use qemu_tests::netns::Net;
use tokio::task::JoinSet;

use crate::client::Client;

/// Between two questions.
const EACH: Duration = Duration::from_millis(50);

/// What is asked: it reaches etcd.
const WHAT: &str = "/api/v1/namespaces/default";

/// Someone who asks, from where the operator is.
pub struct Load {
    over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Seen>>,
}

/// What became of the questions.
pub struct Seen {
    /// How many there were.
    pub asked: usize,
    /// How many had no good answer in time.
    pub failed: usize,
    /// The longest time without an answer, in seconds.
    pub gap: f64,
}

impl Load {
    /// Begins to ask; each question waits for so long.
    pub fn begin(client: &Client, to: SocketAddr, patience: Duration) -> Self {
        let over = Arc::<AtomicBool>::default();
        let (told, client) = (Arc::clone(&over), client.clone());
        let thread = std::thread::spawn(move || {
            Net::sit()?;
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build()?;
            Ok(runtime.block_on(ask(client, to, patience, &told)))
        });
        Self { over, thread }
    }

    /// Ends it.
    pub fn end(self) -> anyhow::Result<Seen> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the load panicked")?
    }
}

async fn ask(client: Client, to: SocketAddr, patience: Duration, over: &AtomicBool) -> Seen {
    let begun = Instant::now();
    let mut turn = tokio::time::interval(EACH);
    let (mut asked, mut answers, mut whys) = (0, vec![begun], BTreeMap::new());
    let mut running = JoinSet::new();
    while !over.load(Ordering::Relaxed) {
        turn.tick().await;
        asked += 1;
        let client = client.clone();
        running.spawn(async move {
            let asked = tokio::time::timeout(patience, client.once(to, WHAT)).await;
            let outcome = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
            (Instant::now(), outcome)
        });
        while let Some(ended) = running.try_join_next() {
            count(ended.ok(), &mut answers, &mut whys);
        }
    }
    // What is asked last is answered after the end: it is no gap.
    let end = Instant::now();
    while let Some(ended) = running.join_next().await {
        count(ended.ok(), &mut answers, &mut whys);
    }
    let gap = longest_gap(answers, end).as_secs_f64();
    let failed = whys.values().sum();
    for (why, times) in &whys {
        eprintln!("bench: {times} times {why}");
    }
    Seen { asked, failed, gap }
}

/// The longest time between two answers, or between the last one and the end.
fn longest_gap(mut answers: Vec<Instant>, end: Instant) -> Duration {
    answers.retain(|at| *at <= end);
    answers.push(end);
    answers.sort();
    let gaps = answers.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}

fn count(
    ended: Option<(Instant, anyhow::Result<()>)>,
    answers: &mut Vec<Instant>,
    whys: &mut BTreeMap<String, usize>,
) {
    match ended {
        Some((at, Ok(()))) => answers.push(at),
        Some((_, Err(why))) => *whys.entry(format!("{why:#}")).or_default() += 1,
        None => *whys.entry("the client panicked".to_owned()).or_default() += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_between_answers_whoever_asked_first() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        // A question from before the gap may be answered after one from behind it.
        let answers = vec![begun, at(100), at(900), at(950), at(400), at(5000)];
        assert_eq!(longest_gap(answers, at(1000)), Duration::from_millis(500));
        assert_eq!(
            longest_gap(vec![begun], at(700)),
            Duration::from_millis(700)
        );
    }
}
