//! `machinectl`: sets up and looks after machines that run machined.

use std::process::ExitCode;

use clap::Parser;
use machinectl::args::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(machinectl::run(cli)),
        Err(error) => {
            machinectl::tell!("error: start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            machinectl::tell!("error: {failure}");
            failure.exit_code()
        }
    }
}
