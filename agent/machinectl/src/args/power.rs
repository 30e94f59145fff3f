//! `reboot` and `shutdown`.

use std::time::Duration;

use clap::Args;

use crate::time::duration;

/// What `reboot` and `shutdown` share.
#[derive(Debug, Clone, Copy, Args)]
pub struct PowerArgs {
    /// How long pods may take to leave; then the machine goes down regardless.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// Ask no pod to leave, and let etcd lose its quorum: go down at once, several machines together.
    #[arg(long)]
    pub force: bool,
}

impl PowerArgs {
    /// Whole seconds, at least one: none would mean the machine's own choice.
    pub fn drain_seconds(&self) -> u32 {
        u32::try_from(self.drain_timeout.as_secs())
            .unwrap_or(u32::MAX)
            .max(1)
    }
}

/// `reboot`.
#[derive(Debug, Clone, Copy, Args)]
pub struct RebootArgs {
    /// How it goes down.
    #[command(flatten)]
    pub power: PowerArgs,
    /// Wait until it has booted and is well, and show progress on standard error. Several machines
    /// are always waited for: they go one after the other, in the order given.
    #[arg(long, conflicts_with = "force")]
    pub wait: bool,
    /// How long to wait for each at most.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub timeout: Duration,
}
