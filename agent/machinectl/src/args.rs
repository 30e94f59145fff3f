//! The command line. Help texts are the manual: man pages are made from them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::time::{duration, lifetime, patience};

mod apply;
mod context;
mod etcd;
mod generate;
mod import;
mod power;
mod token;

pub use apply::{ApplyArgs, Mode};
pub use context::{AddContextArgs, ClientRole, ContextCommand};
pub use etcd::{AlarmsArgs, AlarmsVerb, EtcdCommand, RecoverArgs, SnapshotArgs};
pub use generate::{
    ConfigArgs as GenConfigArgs, EnrolmentArgs, GenerateCommand, SchemaArgs, SecretsArgs,
};
pub use import::{ImportCommand, KubeadmArgs, MachineRole};
pub use power::{PowerArgs, RebootArgs};
pub use token::{CreateTokenArgs, TokenCommand, TokenUsage};

/// Sets up and looks after machines that run machined.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a document was refused, 4 a machine could not be
/// reached in time, 5 not permitted or not trusted.
#[derive(Debug, Parser)]
#[command(
    name = "machinectl",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Common {
    /// The context to use instead of the current one.
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        env = "MACHINECTL_CONTEXT"
    )]
    pub context: Option<String>,
    /// A machine: a node's name in the context, or [NAME=]HOST[:PORT]. May be repeated or
    /// separated by commas. Without it: every node of the context; commands that change or disrupt
    /// a machine want to be told which.
    #[arg(short, long, global = true, value_name = "NODE", value_delimiter = ',')]
    pub node: Vec<String>,
    /// How long one call to a machine may take.
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = patience)]
    pub request_timeout: Duration,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// The option of commands that print results.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// How results are printed.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub format: Format,
}

/// The options of commands that may wait.
#[derive(Clone, Copy, Debug, Args)]
pub struct Wait {
    /// Wait until it is in effect, and show progress on standard error.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub timeout: Duration,
}

/// Where a document stream is.
#[derive(Debug, Args)]
pub struct Documents {
    /// Files with machine configs; `-` is standard input.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// A file with the secrets, where the others do not hold them.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secrets: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make secrets, configs and enrolment bundles.
    #[command(subcommand)]
    Gen(GenerateCommand),
    /// Turn another tool's configs into ours.
    #[command(subcommand)]
    Import(ImportCommand),
    /// Check documents, and tell every problem at once.
    Validate {
        /// The documents.
        #[command(flatten)]
        documents: Documents,
    },
    /// Show every file that a machine would write for a config, without a machine.
    Render(RenderArgs),
    /// Give a machine its config: the first one (enrolment) or a new one.
    ApplyConfig(ApplyArgs),
    /// Keep a config that is being tried; without this it goes back by itself.
    Confirm {
        /// The generation being tried; without it whichever is.
        #[arg(long, value_name = "N", default_value_t = 0)]
        generation: u64,
    },
    /// Look at a machine's configs and go back to an earlier one.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make one control plane machine the first of a new cluster. Once per cluster; where it has machines
    /// of role etcd, one of these first.
    Bootstrap {
        /// Whether to wait until the node is Ready.
        #[command(flatten)]
        wait: Wait,
    },
    /// Show what machines are, whether their config is in effect, and if not, why.
    Status {
        /// How to print.
        #[command(flatten)]
        output: Output,
        /// Keep showing changes until everything is in effect and the node is Ready.
        #[command(flatten)]
        wait: Wait,
    },
    /// Show what the machine's agent is about to do.
    Plan(PlanArgs),
    /// Show what the machine's agent did.
    Events(EventsArgs),
    /// List supervised services, or restart one.
    Services(ServicesArgs),
    /// Show the log of a unit.
    Logs(LogsArgs),
    /// Show the kernel's log.
    Dmesg {
        /// Stay and show what comes.
        #[arg(short, long)]
        follow: bool,
    },
    /// Get an administrator's kubeconfig and merge it into yours.
    Kubeconfig(KubeconfigArgs),
    /// Check everything, and tell all causes with the next step for each.
    Health {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Look at etcd's members and keep them well, take out a dead one, copy the data, bring it back.
    #[command(subcommand)]
    Etcd(EtcdCommand),
    /// Make, list and delete bootstrap tokens, by which nodes join with kubeadm.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Reboot machines. Pods are asked to leave first. Several machines go one after the other, in the
    /// order given; the first that is not well again ends it.
    Reboot(RebootArgs),
    /// Shut machines down. Pods are asked to leave first.
    Shutdown(PowerArgs),
    /// Choose, show, add and remove contexts: clusters and identities.
    #[command(subcommand)]
    Context(ContextCommand),
    /// Make and remove a local cluster of virtual machines.
    #[command(subcommand)]
    Cluster(crate::cluster::args::ClusterCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder.
    Man {
        /// The folder.
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
    /// Show the version of machinectl, and of machines if -n names any.
    Version {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The documents.
    #[command(flatten)]
    pub documents: Documents,
    /// Write below this folder, one folder a machine, instead of printing.
    #[arg(short, long = "output", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
    /// Put secrets in instead of `<redacted>`.
    #[arg(long)]
    pub show_secrets: bool,
    /// The machine's own address, where the config leaves it to the machine.
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<std::net::IpAddr>,
}

/// `config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show a machine's config, secrets redacted.
    Get {
        /// The generation; without it the newest.
        #[arg(long, value_name = "N", default_value_t = 0)]
        generation: u64,
        /// How to print; as a table the document itself.
        #[command(flatten)]
        output: Output,
    },
    /// List the generations that a machine keeps.
    History {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Make an earlier generation's document the newest one.
    Rollback {
        /// The generation to go back to.
        #[arg(value_name = "GENERATION")]
        generation: u64,
        /// Refuse unless the newest generation is this one.
        #[arg(long, value_name = "N", default_value_t = 0)]
        expected_generation: u64,
    },
    /// Show what differs: two generations, or a file against the machine.
    Diff {
        /// The older generation; without it the one before the newer one.
        #[arg(value_name = "OLD", conflicts_with = "file")]
        old: Option<u64>,
        /// The newer generation; without it the newest.
        #[arg(value_name = "NEW")]
        new: Option<u64>,
        /// A document to compare with the machine's newest.
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// A file with the secrets, where the document does not hold them.
        #[arg(long, value_name = "FILE", requires = "file", value_hint = ValueHint::FilePath)]
        secrets: Option<PathBuf>,
    },
}

/// Which intermediate of the last look `plan` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The verdict and actions of every stage.
    #[default]
    Plan,
    /// What should be.
    Desired,
    /// What was seen.
    Observed,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which intermediate to show.
    #[arg(long, value_name = "WHAT", default_value = "plan")]
    pub what: What,
    /// How to print; as a table the same as yaml.
    #[command(flatten)]
    pub output: Output,
}

/// `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Stay and show what comes.
    #[arg(short, long)]
    pub follow: bool,
    /// Start at this event's number; without it at the oldest that is kept.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub from: u64,
    /// Only this kind: config, stage, action, unit, order, condition or audit.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// How to print; json prints one object a line.
    #[command(flatten)]
    pub output: Output,
}

/// `services`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ServicesArgs {
    /// What to do; without it, list.
    #[command(subcommand)]
    pub command: Option<ServicesCommand>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// `services …`.
#[derive(Debug, Subcommand)]
pub enum ServicesCommand {
    /// Restart a service.
    Restart {
        /// Its name, such as kubelet.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The unit, such as kubelet; without it everything.
    #[arg(value_name = "UNIT", default_value = "")]
    pub unit: String,
    /// Stay and show what comes.
    #[arg(short, long)]
    pub follow: bool,
    /// Only lines since then: 10m, or an RFC 3339 time.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only the newest lines.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub tail: u32,
    /// The boot: 0 is this one, -1 the one before.
    #[arg(short, long, value_name = "N", default_value_t = 0, allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(..=0))]
    pub boot: i32,
}

/// `kubeconfig`.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// The file to merge into; `-` prints instead. Without it $KUBECONFIG, else ~/.kube/config.
    #[arg(short = 'o', long = "kubeconfig", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Reach the API server here instead, for example through a tunnel.
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// How long the client certificate lives; without it a year.
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    pub lifetime: Option<Duration>,
    /// Replace another cluster's entries of the same name.
    #[arg(long)]
    pub force: bool,
    /// Do not make it the current context.
    #[arg(long)]
    pub keep_current: bool,
}
