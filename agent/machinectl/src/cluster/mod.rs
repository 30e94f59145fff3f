//! Local clusters of virtual machines, to try things and to learn.
//!
//! Everything about a cluster is in one folder. It is written before a machine starts, so
//! that `destroy` cleans whatever an interrupted `create` left.

pub mod args;
mod create;
mod image;
mod manage;
mod plan;
mod probe;
mod start;
mod state;
mod vm;

use args::ClusterCommand;

use crate::args::Common;
use crate::failure::Failure;

/// Runs `cluster …`.
pub async fn run(common: &Common, command: ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::Create(args) => create::run(common, &args).await,
        ClusterCommand::Stop { name, machine } => manage::stop(&name, &machine).await,
        ClusterCommand::Start(args) => start::run(common, &args).await,
        ClusterCommand::List { output } => manage::list(output),
        ClusterCommand::Destroy { name } => manage::destroy(&name).await,
    }
}
