//! In the agent's place while the state partition, or etcd's, cannot be mounted: it says so
//! on the console, and has systemd try again until the rest of the machine can start.
//! Nothing is known of this machine then, so nothing is decided or taken in.

use std::time::Duration;

use crate::boot;
use crate::conditions::{Condition, Kind};
use crate::journal::Journal;
use crate::node::NodeError;
use crate::node::systemd::Systemd;

/// What has to be mounted, and by which unit.
const MOUNTS: [(&str, &str); 2] = [
    ("/var", "var.mount"),
    ("/var/lib/etcd", "var-lib-etcd.mount"),
];

/// What makes the places in /var that programs expect: at boot there was no /var to make them in.
const PLACES: &str = "machined-places.service";

/// All that could not start for want of it, the agent and the network among it.
const REST: &str = "multi-user.target";

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(20);

/// Lines quoted: the mount's own reason is among systemd's last words.
const LINES: usize = 5;

/// Runs until the agent was started.
pub async fn run() -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let (place, unit) = absent(&mounts);
    let condition = missing(place, Journal::default().last(unit).await);
    boot::console(&condition.appears());
    tracing::error!("{}: {}", condition.kind.word(), condition.message);
    let systemd = Systemd::default();
    loop {
        match again(&systemd).await {
            Ok(()) => break,
            Err(error) => tracing::info!(%error, "no state yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    boot::console(&condition.goes());
    Ok(())
}

async fn again(systemd: &Systemd) -> Result<(), NodeError> {
    for (_, unit) in MOUNTS {
        systemd.start(unit).await?;
    }
    systemd.restart(PLACES).await?;
    systemd.start(REST).await
}

fn absent(mounts: &str) -> (&'static str, &'static str) {
    let mounted = |place: &str| {
        mounts
            .lines()
            .any(|line| line.split(' ').nth(1) == Some(place))
    };
    let absent = MOUNTS.into_iter().find(|(place, _)| !mounted(place));
    absent.unwrap_or(MOUNTS[0])
}

fn missing(place: &str, log: Vec<String>) -> Condition {
    let message = "the partition cannot be mounted, so the agent does not start";
    let step = "attach the disk that it was installed on; if the file system is damaged for \
        good, wipe the partition, reboot and enrol the machine again";
    let skip = log.len().saturating_sub(LINES);
    let log = log.iter().skip(skip);
    Condition {
        log: log.map(|line| crate::journal::clipped(line, 200)).collect(),
        ..Condition::new(Kind::StateUnreadable, place, message).next(step)
    }
}

#[cfg(test)]
mod tests {
    use super::{absent, missing};

    #[test]
    fn the_console_has_the_word_the_place_and_the_mounts_last_words() {
        let log = (0..9).map(|n| format!("line {n}")).collect();
        let told = missing("/var", log).appears();
        assert_eq!(absent("tmpfs / tmpfs\n").0, "/var");
        assert_eq!(absent("/dev/a / x\n/dev/b /var ext4\n").0, "/var/lib/etcd");
        assert!(told.starts_with("machined: state-unreadable /var: the partition cannot"));
        assert!(
            told.ends_with("| line 8") && !told.contains("line 3"),
            "{told}"
        );
    }
}
