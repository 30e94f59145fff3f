//! `cluster …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use serde::{Deserialize, Serialize};

use crate::args::Output;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Boot virtual machines, enrol them, and wait until all are Ready nodes.
    Create(CreateArgs),
    /// Cut the power of one of its machines.
    Stop {
        /// The cluster.
        #[arg(value_name = "NAME")]
        name: String,
        /// The machine.
        #[arg(value_name = "MACHINE")]
        machine: String,
    },
    /// Power a machine on again.
    Start(StartArgs),
    /// List local clusters.
    List {
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Remove a local cluster: its virtual machines, disks, secrets and context.
    Destroy {
        /// The cluster.
        #[arg(value_name = "NAME", default_value = "local")]
        name: String,
    },
}

/// `cluster create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The cluster's name, and its context's.
    #[arg(value_name = "NAME", default_value = "local")]
    pub name: String,
    /// The image: a folder with vmlinuz, initrd, disk.raw and cmdline.
    #[arg(long, value_name = "DIR", env = "MACHINED_IMAGE", value_hint = ValueHint::DirPath)]
    pub image: PathBuf,
    /// How many control plane machines. Odd is better: two lose their cluster when either of them dies.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    pub control_planes: u8,
    /// How many workers, besides them.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=20))]
    pub workers: u8,
    /// The Kubernetes version that the image holds.
    #[arg(long, value_name = "VERSION", default_value = "v1.20.2")]
    pub kubernetes_version: String,
    /// What each machine has.
    #[command(flatten)]
    pub size: Size,
}

/// What a virtual machine has.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Size {
    /// Memory of a machine, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1024..))]
    pub memory: u32,
    /// Processors of a machine. [default: 2, or 1 where it is emulated]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u8>,
    /// Disk of a machine, in GiB. It takes room only as it fills.
    #[arg(long, value_name = "GIB", default_value_t = 12, value_parser = clap::value_parser!(u16).range(8..))]
    pub disk: u16,
}

/// `cluster start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The cluster.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The machine.
    #[arg(value_name = "MACHINE")]
    pub machine: String,
    /// On an empty disk, as a machine that was replaced: it is enrolled with its own config again, and
    /// waited for until its node is Ready.
    #[arg(long)]
    pub wipe: bool,
}
