//! `cluster …`.
/// x
#[derive(Debug, clap::Subcommand)]
pub enum ClusterCommand {
    /// List
    List,
}
