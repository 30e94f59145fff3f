//! The kernel's clock, and what timesyncd says of it.

use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

/// timesyncd touches it whenever a server has told the time.
const LAST_SYNCHRONIZED: &str = "/var/lib/systemd/timesync/clock";
/// There while a server's time is in force in this boot.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// When a server has told the time last, unix milliseconds; `None` if none ever did.
pub fn last_synchronized_ms() -> Option<i64> {
    let told = std::fs::metadata(LAST_SYNCHRONIZED).and_then(|facts| facts.modified());
    let since = told.ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

/// Whether a time server has told the time in this boot.
pub fn synchronized() -> bool {
    Path::new(SYNCHRONIZED).exists()
}

/// Sets it, to the second.
pub fn set(ms: i64) -> io::Result<()> {
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(ms / 1000, 0)).map_err(Into::into)
}
