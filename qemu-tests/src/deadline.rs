//! Deadlines that scale with this machine, measured once a process.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What the calibration took on the two idle cores that the base figures in the
/// stories come from.
const REFERENCE: Duration = Duration::from_millis(120);

/// How much slower this machine is now than the reference: 1 to 10.
pub fn factor() -> f64 {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    *FACTOR.get_or_init(|| {
        // Two threads, because a guest has two processors: a busy neighbour shows.
        let start = Instant::now();
        let workers: Vec<_> = (0..2)
            .map(|seed| std::thread::spawn(move || spin(seed)))
            .collect();
        let sum = workers
            .into_iter()
            .filter_map(|w| w.join().ok())
            .fold(0u64, u64::wrapping_add);
        let took = start.elapsed().as_secs_f64() / REFERENCE.as_secs_f64();
        let factor = took.clamp(1.0, 10.0);
        eprintln!("machine speed factor {factor:.2} ({sum:x})");
        factor
    })
}

fn spin(seed: u64) -> u64 {
    let mut x = seed | 1;
    for i in 0..30_000_000u64 {
        x = (x ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    }
    x
}

/// The end of a wait that says what it waits for.
#[derive(Debug, Clone)]
pub struct Deadline {
    end: Instant,
    what: String,
    seconds: u64,
}

impl Deadline {
    /// `seconds` on the reference machine.
    pub fn new(seconds: u64, what: impl Into<String>) -> Self {
        let what = what.into();
        let scaled = Duration::from_secs(seconds).mul_f64(factor());
        eprintln!("waiting up to {} s for {what}", scaled.as_secs());
        Self {
            end: Instant::now() + scaled,
            what,
            seconds: scaled.as_secs(),
        }
    }

    /// What is left, or an error that names the wait.
    pub fn left(&self) -> anyhow::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        anyhow::ensure!(
            !left.is_zero(),
            "{} did not happen within {} s",
            self.what,
            self.seconds
        );
        Ok(left)
    }
}
