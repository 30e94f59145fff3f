//! `token …`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Output;
use crate::time::duration;

/// `token …`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a bootstrap token and print it, or the command that a node joins with.
    Create(CreateTokenArgs),
    /// List the cluster's bootstrap tokens, without what is secret of them.
    List {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Delete bootstrap tokens. Nodes that have joined by them stay.
    Delete {
        /// Their ids, which are the tokens' first six characters.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenUsage {
    /// To show a joining node that the cluster is the right one.
    Signing,
    /// To ask for a node's certificate.
    Authentication,
}

impl TokenUsage {
    /// Kubernetes' word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Authentication => "authentication",
        }
    }
}

/// `token create`.
#[derive(Debug, Args)]
pub struct CreateTokenArgs {
    /// The token, such as abcdef.0123456789abcdef; `-` asks for it, which keeps it out of the
    /// shell's history. Without it the machine makes one.
    #[arg(value_name = "TOKEN")]
    pub token: Option<String>,
    /// How long until it expires. 0 is never: whoever finds such a token can join nodes for ever.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub ttl: Duration,
    /// What it is for: a line for people.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub description: String,
    /// What it is good for; without it both.
    #[arg(long, value_name = "USAGES", value_delimiter = ',')]
    pub usages: Vec<TokenUsage>,
    /// The groups that its bearer is in: system:bootstrappers:NAME. Without it the one that may
    /// join nodes.
    #[arg(long, value_name = "GROUPS", value_delimiter = ',')]
    pub groups: Vec<String>,
    /// Print the `kubeadm join` command with it instead of the token alone.
    #[arg(long)]
    pub print_join_command: bool,
    /// How to print; as a table the token, or the command, alone.
    #[command(flatten)]
    pub output: Output,
}
