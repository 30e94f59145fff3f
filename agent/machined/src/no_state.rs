//! In the agent's place while the state partition cannot be mounted: it says so
//! on the console, and has systemd try again until the agent itself can start.
//! Nothing is known of this machine then, so nothing is decided or taken in.

use std::time::Duration;

use crate::boot;
use crate::conditions::{Condition, Kind};
use crate::journal::Journal;
use crate::node::systemd::Systemd;

/// What mounts the state.
const MOUNT: &str = "var.mount";

/// What needs it.
const AGENT: &str = "machined.service";

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(20);

/// Lines quoted: the mount's own reason is among systemd's last words.
const LINES: usize = 5;

/// Runs until the agent was started.
pub async fn run() -> anyhow::Result<()> {
    let condition = missing(Journal::default().last(MOUNT).await);
    boot::console(&condition.appears());
    tracing::error!("{}: {}", condition.kind.word(), condition.message);
    let systemd = Systemd::default();
    loop {
        // Its start job mounts the state first, or fails with it.
        match systemd.start(AGENT).await {
            Ok(()) => break,
            Err(error) => tracing::info!(%error, "no state yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    boot::console(&condition.goes());
    Ok(())
}

fn missing(log: Vec<String>) -> Condition {
    let message = "the state partition cannot be mounted, so nothing is known of this machine";
    let step = "attach the disk that it was installed on; if the file system is damaged for \
        good, wipe the partition, reboot and enrol the machine again";
    let skip = log.len().saturating_sub(LINES);
    let log = log.iter().skip(skip);
    Condition {
        log: log.map(|line| crate::journal::clipped(line, 200)).collect(),
        ..Condition::new(Kind::StateUnreadable, "/var", message).next(step)
    }
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn the_console_has_the_word_the_place_and_the_mounts_last_words() {
        let log = (0..9).map(|n| format!("line {n}")).collect();
        let told = missing(log).appears();
        assert!(told.starts_with("machined: state-unreadable /var: the state partition"));
        assert!(
            told.ends_with("| line 8") && !told.contains("line 3"),
            "{told}"
        );
    }
}
