//! `context …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::Output;
use crate::time::lifetime;

/// What a client may do, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClientRole {
    /// Look.
    Reader,
    /// Look, restart services, reboot.
    Operator,
    /// Everything.
    #[default]
    Admin,
}

impl ClientRole {
    /// As a certificate says it.
    pub fn organization(self) -> String {
        match self {
            Self::Reader => "machined:reader".into(),
            Self::Operator => "machined:operator".into(),
            Self::Admin => "machined:admin".into(),
        }
    }
}

/// `context …`.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List contexts.
    List {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Make a context the current one.
    Use {
        /// The context.
        name: String,
    },
    /// Show a context, without its key.
    Show {
        /// The context; without it the current one.
        name: Option<String>,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Add a context, from files or with a new certificate from the cluster's secrets. Its nodes
    /// are those named by -n NAME=HOST.
    Add(AddContextArgs),
    /// Remove a context.
    Remove {
        /// The context.
        name: String,
    },
}

/// `context add`.
#[derive(Debug, Args)]
pub struct AddContextArgs {
    /// Its name.
    pub name: String,
    /// The machine CA's certificate.
    #[arg(long, value_name = "FILE", requires_all = ["certificate", "key"],
        required_unless_present = "secrets", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// The client certificate.
    #[arg(long, value_name = "FILE", requires = "ca", value_hint = ValueHint::FilePath)]
    pub certificate: Option<PathBuf>,
    /// The client certificate's key.
    #[arg(long, value_name = "FILE", requires = "ca", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Make a new client certificate from the cluster's secrets.
    #[arg(long, value_name = "FILE", conflicts_with = "ca", value_hint = ValueHint::FilePath)]
    pub secrets: Option<PathBuf>,
    /// With --secrets: what the client may do.
    #[arg(long, value_name = "ROLE", default_value = "admin")]
    pub role: ClientRole,
    /// With --secrets: whose certificate it is, for the audit log.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "admin")]
    pub user: String,
    /// With --secrets: how long the certificate lives.
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = lifetime)]
    pub lifetime: Duration,
    /// Replace another cluster's context of the same name.
    #[arg(long)]
    pub force: bool,
    /// Do not make it the current context.
    #[arg(long)]
    pub keep_current: bool,
}
