//! The commands that the documents tell people to type are commands.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use machinectl::args::Cli;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let operations = std::fs::read_dir(root.join("docs/operations")).unwrap();
    let mut pages: Vec<_> = operations.map(|entry| entry.unwrap().path()).collect();
    pages.push(root.join("README.md"));
    pages.sort();
    pages
}

/// The lines of a page's shell blocks, and what stands between backticks in its text: both are
/// read as commands.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block = None;
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            block = match block {
                None => Some(kind.to_owned()),
                Some(_) => None,
            };
        } else if block.as_deref() == Some("sh") {
            found.push(line.trim().to_owned());
        } else if block.is_none() {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found.retain(|command| command.starts_with("machinectl "));
    found
}

fn refused(command: &str) -> Option<String> {
    use clap::error::ErrorKind as E;
    let words = command.split_whitespace();
    match Cli::command().try_get_matches_from(words) {
        Ok(_) => None,
        // In a sentence a command may stand for itself, without what it acts on.
        Err(e)
            if matches!(
                e.kind(),
                E::DisplayHelp
                    | E::MissingRequiredArgument
                    | E::DisplayHelpOnMissingArgumentOrSubcommand
            ) =>
        {
            None
        }
        Err(e) => Some(e.to_string()),
    }
}

#[test]
fn every_command_in_the_documents_is_one() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        for command in commands(&std::fs::read_to_string(&page).unwrap()) {
            count += 1;
            if let Some(why) = refused(&command) {
                wrong.push(format!("{}: {command}\n{why}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 40, "only {count} commands were found");
}

#[test]
fn a_wrong_command_is_refused() {
    assert!(refused("machinectl status -n cp1").is_none());
    for wrong in ["machinectl stats", "machinectl status --no-such-thing"] {
        assert!(refused(wrong).is_some(), "{wrong}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            let there = page.parent().unwrap().join(target).exists();
            assert!(
                target.starts_with("http") || there,
                "{}: {target}",
                page.display()
            );
        }
    }
}
