//! `completions` and `man`.

use std::path::Path;

use clap::CommandFactory;

use crate::args::Cli;
use crate::failure::Failure;
use crate::files::{self, Access};

/// Prints a completion script.
pub(super) fn script(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "machinectl", &mut script);
    files::print(&String::from_utf8_lossy(&script))
}

/// Writes one manual page for every command.
pub(super) fn man(folder: &Path) -> Result<(), Failure> {
    files::folder(folder, Access::Everyone)?;
    let mut command = Cli::command();
    command.build();
    let count = pages(folder, &command, "machinectl")?;
    crate::tell!("wrote {count} pages to {}", folder.display());
    Ok(())
}

fn pages(folder: &Path, command: &clap::Command, name: &str) -> Result<usize, Failure> {
    // The page of `gen config` is machinectl-gen-config, as git's are.
    let named = command
        .clone()
        .display_name(name.to_owned())
        .bin_name(name.replace('-', " "));
    let mut page = Vec::new();
    clap_mangen::Man::new(named)
        .render(&mut page)
        .map_err(|error| Failure::failed(format!("make the page of {name}: {error}")))?;
    files::write(&folder.join(format!("{name}.1")), &page, Access::Everyone)?;
    let mut count = 1;
    for inner in command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
    {
        if inner.get_name() != "help" {
            count += pages(folder, inner, &format!("{name}-{}", inner.get_name()))?;
        }
    }
    Ok(count)
}
