//! `machined`: makes this machine what its document says, and keeps it so.

mod api;
mod boot;
mod clock;
mod conditions;
#[cfg(test)]
mod crash_matrix;
mod daemon;
mod durable;
mod ears;
mod going;
mod hands;
mod identity;
mod journal;
mod ledger;
mod no_state;
mod node;
mod pulse;
mod readyz;
mod reconcile;
mod status;
#[cfg(test)]
mod testing;
mod watchdog;

use std::process::ExitCode;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--version") {
        println!("machined {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    log();
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::error!("another TLS provider is installed");
        return ExitCode::FAILURE;
    }
    // One thread: the work is waiting, and every further thread costs memory.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done =
        runtime
            .map_err(Into::into)
            .and_then(|runtime| match std::env::args().nth(1).as_deref() {
                // What systemd starts in the agent's place when there is no state to work on,
                Some("no-state") => runtime.block_on(no_state::run()),
                // and beside keepalived.
                Some("readyz") => runtime.block_on(readyz::run()),
                _ => runtime.block_on(daemon::run()),
            });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e:#}");
            boot::console(&format!("machined: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

fn log() {
    let level = tracing_subscriber::filter::LevelFilter::INFO;
    match tracing_journald::layer() {
        Ok(journal) => tracing_subscriber::registry()
            .with(level)
            .with(journal)
            .init(),
        Err(_) => tracing_subscriber::registry()
            .with(level)
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
            .init(),
    }
}
