//! Local clusters.
pub mod args;
use crate::args::Common;
use crate::failure::Failure;
/// Runs.
pub async fn run(_common: &Common, _command: args::ClusterCommand) -> Result<(), Failure> {
    Ok(())
}
