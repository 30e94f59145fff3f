//! How long one question of a look may take.

use std::time::Duration;

use machine_plan::observed::Probe;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A probe that takes longer is a result of its own. TCG guests need seconds
/// for a TLS handshake while the API server starts.
pub const PROBE: Duration = Duration::from_secs(10);

/// A probe with its deadline.
pub async fn limited<T>(probe: impl Future<Output = Probe<T>>) -> Probe<T> {
    tokio::time::timeout(PROBE, probe)
        .await
        .unwrap_or_else(|_| Probe::Unreadable(silent()))
}

/// How long a look waits for a question that outlives it.
const STANDING: Duration = Duration::from_millis(250);

/// A question that outlives the look that asked it: an API server that only starts takes connections
/// seconds before it answers, and what else is to be done does not wait for that. Until it answers, what
/// it said last counts, for as long as a look would have waited.
pub struct Standing<T>(Mutex<Asked<T>>);

struct Asked<T> {
    pending: Option<JoinHandle<Probe<T>>>,
    last: Option<(Instant, Probe<T>)>,
}

impl<T> Default for Standing<T> {
    fn default() -> Self {
        let (pending, last) = (None, None);
        Self(Mutex::new(Asked { pending, last }))
    }
}

impl<T: Clone + Send + 'static> Standing<T> {
    /// The answer to this, or to what was asked before and was not answered then.
    pub async fn ask(&self, question: impl Future<Output = Probe<T>> + Send + 'static) -> Probe<T> {
        let mut asked = self.0.lock().await;
        let pending = asked.pending.take();
        let mut pending = pending.unwrap_or_else(|| tokio::spawn(limited(question)));
        match tokio::time::timeout(STANDING, &mut pending).await {
            Ok(answer) => {
                let answer = answer.unwrap_or_else(|e| Probe::Unreadable(e.to_string()));
                asked.last = Some((Instant::now(), answer.clone()));
                answer
            }
            Err(_) => {
                asked.pending = Some(pending);
                let last = asked.last.as_ref().filter(|(at, _)| at.elapsed() < PROBE);
                last.map_or_else(
                    || Probe::Unreadable("no answer yet".to_owned()),
                    |(_, answer)| answer.clone(),
                )
            }
        }
    }
}

/// Nothing is there where it is not asked for.
pub async fn if_so<T>(so: bool, probe: impl Future<Output = Probe<T>>) -> Probe<T> {
    match so {
        true => limited(probe).await,
        false => Probe::Absent,
    }
}

/// What is said of one that took longer.
pub fn silent() -> String {
    format!("no answer within {} s", PROBE.as_secs())
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_outlives_its_look_and_the_last_answer_counts_meanwhile() {
        let standing = Standing::default();
        let (says, said) = oneshot::channel();
        let slow = async { said.await.unwrap_or(Probe::Absent) };
        let nothing = Probe::Unreadable("no answer yet".to_owned());
        assert_eq!(standing.ask(slow).await, nothing);
        // It is not asked again: this would answer at once.
        assert_eq!(standing.ask(async { Probe::Seen(1) }).await, nothing);
        says.send(Probe::Seen(2)).unwrap();
        assert_eq!(standing.ask(async { Probe::Seen(1) }).await, Probe::Seen(2));
        assert_eq!(standing.ask(async { Probe::Seen(3) }).await, Probe::Seen(3));

        // What was said counts for as long as a look would have waited, and then it is an answer that
        // there was none.
        let never = || std::future::pending::<Probe<i32>>();
        assert_eq!(standing.ask(never()).await, Probe::Seen(3));
        tokio::time::sleep(PROBE).await;
        assert_eq!(standing.ask(never()).await, Probe::Unreadable(silent()));
    }
}
