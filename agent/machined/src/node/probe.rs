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
/// seconds before it answers, and what else is to be done does not wait for that. No answer is older than
/// a look would have waited for it.
pub struct Standing<T>(Mutex<Asked<T>>);

type Answer<T> = (Instant, Probe<T>);

struct Asked<T> {
    pending: Option<JoinHandle<Answer<T>>>,
    last: Option<Answer<T>>,
}

impl<T> Default for Standing<T> {
    fn default() -> Self {
        let (pending, last) = (None, None);
        Self(Mutex::new(Asked { pending, last }))
    }
}

impl<T: Clone + Send + 'static> Standing<T> {
    /// The answer to this, or to what was asked before and was not answered then. Until there is one, what was
    /// answered last, if this may stand; none where nothing does.
    pub async fn ask(
        &self,
        question: impl Future<Output = Probe<T>> + Send + 'static,
        stands: impl Fn(&Probe<T>) -> bool,
    ) -> Option<Probe<T>> {
        let mut asked = self.0.lock().await;
        if let Some(pending) = asked.pending.take_if(|pending| pending.is_finished()) {
            let answer = pending.await.ok();
            // Nobody came for it in time: it is asked anew.
            if let Some((_, answer)) = keep(&mut asked.last, answer) {
                return Some(answer);
            }
        }
        let pending = asked.pending.take();
        let begin = || {
            tokio::spawn(async {
                let answer = limited(question).await;
                (Instant::now(), answer)
            })
        };
        let mut pending = pending.unwrap_or_else(begin);
        match tokio::time::timeout(STANDING, &mut pending).await {
            Ok(Ok(answer)) => keep(&mut asked.last, Some(answer)).map(|(_, answer)| answer),
            Ok(Err(ended)) => Some(Probe::Unreadable(ended.to_string())),
            Err(_) => {
                asked.pending = Some(pending);
                let last = asked.last.clone().filter(fresh);
                last.map(|(_, answer)| answer).filter(stands)
            }
        }
    }
}

fn fresh<T>((at, _): &Answer<T>) -> bool {
    at.elapsed() < PROBE
}

fn keep<T: Clone>(last: &mut Option<Answer<T>>, answer: Option<Answer<T>>) -> Option<Answer<T>> {
    *last = answer.filter(fresh);
    last.clone()
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
        let ask = async |question: Probe<i32>| standing.ask(async { question }, |_| true).await;
        let (says, said) = oneshot::channel();
        let slow = async { said.await.unwrap_or(Probe::Absent) };
        assert_eq!(standing.ask(slow, |_| true).await, None);
        // It is not asked again: this would answer at once.
        assert_eq!(ask(Probe::Seen(1)).await, None);
        says.send(Probe::Seen(2)).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(ask(Probe::Seen(1)).await, Some(Probe::Seen(2)));
        assert_eq!(ask(Probe::Seen(3)).await, Some(Probe::Seen(3)));

        // What was said counts until it is as old as a look would have waited, where it may.
        let (says, said) = oneshot::channel();
        let slow = async { said.await.unwrap_or(Probe::Absent) };
        assert_eq!(standing.ask(slow, |_| true).await, Some(Probe::Seen(3)));
        let never = std::future::pending;
        assert_eq!(standing.ask(never(), |_| false).await, None);
        tokio::time::sleep(PROBE * 9 / 10).await;
        says.send(Probe::Seen(4)).unwrap();
        tokio::task::yield_now().await;
        // An answer that nobody came for in time is none.
        tokio::time::sleep(PROBE).await;
        assert_eq!(ask(Probe::Seen(5)).await, Some(Probe::Seen(5)));
        assert_eq!(standing.ask(never(), |_| true).await, Some(Probe::Seen(5)));
        tokio::time::sleep(PROBE - STANDING * 2).await;
        assert_eq!(standing.ask(never(), |_| true).await, None, "too old");
    }
}
