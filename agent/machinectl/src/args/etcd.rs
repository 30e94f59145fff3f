//! `etcd …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::Output;

/// `etcd …`.
#[derive(Debug, Subcommand)]
pub enum EtcdCommand {
    /// List the members, as one with a vote knows them.
    Members {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Show what every member says of itself: version, size, how far its log is. Also without a quorum.
    Status {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Check etcd, and tell all causes with the next safe step for each. Exit code 0: all is well.
    Health {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Show alarms, or take them back once their cause is gone.
    Alarms(AlarmsArgs),
    /// Have members give back what their database does not use: one at a time, the leader last.
    Defrag {
        /// Also where little is gained, the only member, or while one is not well.
        #[arg(long)]
        force: bool,
    },
    /// Take out a member whose machine is gone. Refused where the others cannot do without it.
    Remove {
        /// Its name or its id.
        #[arg(value_name = "MEMBER")]
        member: String,
        /// Also one that answers.
        #[arg(long)]
        force: bool,
    },
    /// Have machines hand over etcd's leadership if they have it. A reboot does so by itself.
    ForfeitLeadership,
    /// Save all of etcd's data, with every Secret in it, to a file, and check it.
    Snapshot(SnapshotArgs),
    /// Take a machine's member out of the cluster; the machine stays out until it is told to join.
    Leave {
        /// Do not leave: set the machine's data aside, and join anew.
        #[arg(long)]
        discard: bool,
        /// Discard also the only data that is known.
        #[arg(long, requires = "discard")]
        force: bool,
    },
    /// Have a machine that has left join again. Calls off an order that is not carried out yet.
    Join,
    /// After the quorum is lost: make a new cluster of old data, with one machine as its only member.
    Recover(RecoverArgs),
}

/// What to do with alarms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AlarmsVerb {
    /// Show them.
    #[default]
    List,
    /// Take them back. Refused while the cause of one lasts.
    Disarm,
}

/// `etcd alarms`.
#[derive(Debug, Args)]
pub struct AlarmsArgs {
    /// What to do.
    #[arg(value_name = "VERB", default_value = "list")]
    pub verb: AlarmsVerb,
    /// Take them back whatever lasts.
    #[arg(long)]
    pub force: bool,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// `etcd snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// The file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// `etcd recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// A snapshot that `etcd snapshot` has saved.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
        required_unless_present_any = ["from_data", "dry_run"], conflicts_with = "from_data")]
    pub from: Option<PathBuf>,
    /// No snapshot: the machine's own data.
    #[arg(long)]
    pub from_data: bool,
    /// Only explain what would be done, and what speaks against it.
    #[arg(long)]
    pub dry_run: bool,
    /// Although others answer. Every other member must be stopped: it would be a second cluster.
    #[arg(long)]
    pub force: bool,
}
