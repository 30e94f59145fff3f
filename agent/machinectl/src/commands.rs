//! One module a command, or a few that belong together.

mod apply;
mod bootstrap;
mod completions;
mod config;
mod context;
mod etcd;
mod events;
mod generate;
mod health;
mod import;
mod kubeconfig;
mod logs;
mod plan;
mod power;
mod render;
mod services;
mod status;
mod token;
mod validate;
mod version;

use crate::args::{Cli, Command};
use crate::failure::Failure;

/// Runs one command.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let common = &cli.common;
    match cli.command {
        Command::Gen(command) => generate::run(command),
        Command::Import(command) => import::run(command),
        Command::Validate { documents } => validate::run(&documents),
        Command::Render(args) => render::run(&args),
        Command::ApplyConfig(args) => apply::run(common, args).await,
        Command::Confirm { generation } => config::confirm(common, generation).await,
        Command::Config(command) => config::run(common, command).await,
        Command::Bootstrap { wait } => bootstrap::run(common, wait).await,
        Command::Status { output, wait } => status::run(common, output, wait).await,
        Command::Plan(args) => plan::run(common, args).await,
        Command::Events(args) => events::run(common, args).await,
        Command::Services(args) => services::run(common, args).await,
        Command::Logs(args) => logs::run(common, args).await,
        Command::Dmesg { follow } => logs::dmesg(common, follow).await,
        Command::Kubeconfig(args) => kubeconfig::run(common, args).await,
        Command::Health { output } => health::run(common, output).await,
        Command::Etcd(command) => etcd::run(common, command).await,
        Command::Token(command) => token::run(common, command).await,
        Command::Reboot(args) => power::reboot(common, args).await,
        Command::Shutdown(args) => power::shutdown(common, args).await,
        Command::Context(command) => context::run(common, command),
        Command::Cluster(command) => crate::cluster::run(common, command).await,
        Command::Completions { shell } => completions::script(shell),
        Command::Man { folder } => completions::man(&folder),
        Command::Version { output } => version::run(common, output).await,
    }
}
