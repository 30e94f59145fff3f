//! `apply-config`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use super::Output;
use crate::time::duration;

/// When a config takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Now.
    #[default]
    Auto,
    /// At the next boot.
    Staged,
    /// Now, and it goes back by itself unless confirmed in time.
    Try,
}

/// `apply-config`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A machine's config. May be repeated: each goes to the machine of its hostname.
    #[arg(short, long = "file", required = true, value_name = "FILE", num_args = 1.., value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// A file with the secrets, where the configs do not hold them.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secrets: Option<PathBuf>,
    /// When it takes effect.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub mode: Mode,
    /// With --mode try: how long until it goes back (default 5m). With --wait: how long to wait
    /// at most (default 15m).
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Check and show what would change, and change nothing.
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// Refuse unless the newest generation is this one.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "code")]
    pub expected_generation: u64,
    /// The code on the console of a machine without config. It is asked for where the value is
    /// `-`, which keeps it out of the shell's history.
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Allow a hostname other than the machine's name, to rename it.
    #[arg(long)]
    pub rename: bool,
    /// Wait until it is in effect, and show progress on standard error. Several machines go one after
    /// the other, in the order given; the first where it is not in effect in time ends it.
    #[arg(long)]
    pub wait: bool,
    /// With --wait: change several machines together, whatever that restarts. For machines that are
    /// new, where nothing runs yet.
    #[arg(long, requires = "wait")]
    pub at_once: bool,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}
