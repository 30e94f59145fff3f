//! Tells systemd's watchdog that this agent lives: that its one thread turns,
//! and that the loop, where there is one, has looked not long ago.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often; the unit's WatchdogSec is several times this.
const FEED: Duration = Duration::from_secs(30);

/// The longest a look, with all that it does, and the pause after it may take.
/// A restart of a unit may take three minutes, the pause five.
const LOOK: Duration = Duration::from_secs(1200);

/// The last sign of the loop; `None` until it begins.
#[derive(Clone, Default)]
pub struct Watchdog(Arc<Mutex<Option<Instant>>>);

impl Watchdog {
    /// A look begins.
    pub fn sign(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn content(&self, now: Instant) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|last| now.saturating_duration_since(last) < LOOK)
    }

    /// Feeds for as long as the task lives and all is well.
    pub async fn feed(self) {
        loop {
            if self.content(Instant::now()) {
                // Outside systemd nobody listens, which is fine.
                drop(sd_notify::notify(&[sd_notify::NotifyState::Watchdog]));
            } else {
                tracing::error!("the loop has not looked for {} s", LOOK.as_secs());
            }
            tokio::time::sleep(FEED).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_hangs_is_not_covered_for() {
        let watchdog = Watchdog::default();
        let now = Instant::now();
        assert!(watchdog.content(now + 10 * LOOK), "there is no loop yet");
        watchdog.sign();
        assert!(watchdog.content(now + LOOK / 2));
        assert!(!watchdog.content(now + 2 * LOOK));
    }
}
