//! How long something takes, and what this host's processors do meanwhile: where they have no time left,
//! seconds say how much work there is and not how much of it goes on at once.

use std::time::Instant;

use anyhow::Context;

/// From when it began.
pub struct Begun {
    at: Instant,
    spent: [f64; 2],
}

/// What it took.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// On the clock.
    pub seconds: f64,
    /// Of processors, all that anybody used on this host.
    pub processor: f64,
    /// The share of all processors that this is.
    pub busy: f64,
}

impl Begun {
    /// Now.
    pub fn now() -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            spent: spent()?,
        })
    }

    /// Until now.
    pub fn until_now(&self) -> anyhow::Result<Effort> {
        let seconds = self.at.elapsed().as_secs_f64();
        let [used, all] = spent()?;
        let busy = (used - self.spent[0]) / (all - self.spent[1]);
        #[expect(clippy::cast_precision_loss, reason = "they are few")]
        let processors = std::thread::available_parallelism()?.get() as f64;
        Ok(Effort {
            seconds,
            processor: busy * processors * seconds,
            busy,
        })
    }
}

/// Ticks that all processors were used since this host started, and those that there were.
fn spent() -> anyhow::Result<[f64; 2]> {
    let text = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    read(&text).context("no processors in /proc/stat")
}

// user, nice, system, idle, iowait, irq, softirq, steal; guests are counted as users (proc_stat(5)).
fn read(text: &str) -> Option<[f64; 2]> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let each: Option<Vec<f64>> = line
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    let each = each?;
    let all: f64 = each.get(..8)?.iter().sum();
    Some([all - each[3] - each[4], all])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_idles_is_not_used() {
        let text = "cpu  100 20 30 400 50 6 7 8 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(read(text), Some([171.0, 621.0]));
        assert_eq!(read("cpu  1 2 3\n"), None);
        assert!(spent().unwrap()[0] <= spent().unwrap()[1]);
    }
}
