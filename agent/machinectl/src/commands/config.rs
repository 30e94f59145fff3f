//! `config …` and `confirm`.

use machined_proto::v1::{
    ApplyConfigRequest, ApplyMode, ConfirmConfigRequest, Generation, GetConfigRequest,
    GetConfigResponse, ListGenerationsRequest, RollbackConfigRequest,
};
use serde_json::{Value, json};
use similar::TextDiff;

use crate::args::{Common, ConfigCommand, Format, Output};
use crate::client::Link;
use crate::documents;
use crate::failure::Failure;
use crate::files;
use crate::fleet::{self, Outcome};
use crate::output::{self, table, yes};
use crate::session::Session;
use crate::time;

/// Runs `config …`.
pub(super) async fn run(common: &Common, command: ConfigCommand) -> Result<(), Failure> {
    let session = Session::open(common)?;
    match command {
        ConfigCommand::Get { generation, output } => get(&session, generation, output).await,
        ConfigCommand::History { output } => history(&session, output).await,
        ConfigCommand::Rollback {
            generation,
            expected_generation,
        } => rollback(&session, generation, expected_generation).await,
        ConfigCommand::Diff {
            file: Some(file),
            secrets,
            ..
        } => diff_file(&session, &file, secrets.as_deref()).await,
        ConfigCommand::Diff { old, new, .. } => diff(&session, old, new).await,
    }
}

/// Keeps a config that is being tried.
pub(super) async fn confirm(common: &Common, generation: u64) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let outcomes = fleet::ask(session.named_targets("confirm")?, |target| async move {
        let link = session.connect(&target).await?;
        let request = ConfirmConfigRequest { generation };
        Ok(link
            .call("confirm", link.machine().confirm_config(request))
            .await?
            .generation)
    })
    .await;
    tell(outcomes, |generation| {
        format!("generation {generation} confirmed")
    })
}

fn tell<T>(outcomes: Vec<Outcome<T>>, line: impl Fn(&T) -> String) -> Result<(), Failure> {
    let lines: String = fleet::good(&outcomes)
        .map(|(node, good)| format!("{node}: {}\n", line(good)))
        .collect();
    files::print(&lines)?;
    fleet::conclude(outcomes)
}

async fn document(link: &Link, generation: u64) -> Result<GetConfigResponse, Failure> {
    let request = GetConfigRequest { generation };
    link.call("config get", link.machine().get_config(request))
        .await
}

async fn get(session: &Session, generation: u64, output: Output) -> Result<(), Failure> {
    let outcomes = fleet::ask(session.targets()?, |target| async move {
        document(&session.connect(&target).await?, generation).await
    })
    .await;
    if output.format == Format::Table {
        let several = outcomes.len() > 1;
        for (node, answer) in fleet::good(&outcomes) {
            if several {
                files::print(&format!("# {node}: generation {}\n", answer.generation))?;
            }
            files::print(&answer.document)?;
        }
    } else {
        let value = fleet::as_value(
            &outcomes,
            |answer| json!({ "generation": answer.generation, "document": answer.document }),
        );
        files::print(&output::encode(&value, output.format)?)?;
    }
    fleet::conclude(outcomes)
}

async fn generations(link: &Link) -> Result<Vec<Generation>, Failure> {
    let mut machine = link.machine();
    let call = machine.list_generations(ListGenerationsRequest {});
    Ok(link.call("config history", call).await?.generations)
}

async fn history(session: &Session, output: Output) -> Result<(), Failure> {
    let outcomes = fleet::ask(session.targets()?, |target| async move {
        generations(&session.connect(&target).await?).await
    })
    .await;
    let value = fleet::as_value(&outcomes, |kept| kept.iter().map(shape).collect());
    output::show(output.format, &value, || {
        let header = [
            "NODE",
            "GENERATION",
            "CURRENT",
            "STATE",
            "ACCEPTED",
            "BY",
            "DIGEST",
        ];
        let rows = fleet::good(&outcomes).flat_map(|(node, kept)| {
            kept.iter().map(move |one| {
                vec![
                    node.to_owned(),
                    one.number.to_string(),
                    yes(one.current),
                    one.state.clone(),
                    time::shown(one.accepted_ms),
                    one.by.clone(),
                    one.digest.chars().take(19).collect(),
                ]
            })
        });
        table(&header, rows)
    })?;
    fleet::conclude(outcomes)
}

fn shape(one: &Generation) -> Value {
    json!({
        "number": one.number,
        "current": one.current,
        "state": one.state,
        "accepted": time::shown(one.accepted_ms),
        "by": one.by,
        "digest": one.digest,
    })
}

async fn rollback(session: &Session, generation: u64, expected: u64) -> Result<(), Failure> {
    let outcomes = fleet::ask(
        session.named_targets("config rollback")?,
        |target| async move {
            let link = session.connect(&target).await?;
            let request = RollbackConfigRequest {
                generation,
                expected_generation: expected,
            };
            Ok(link
                .call("config rollback", link.machine().rollback_config(request))
                .await?
                .generation)
        },
    )
    .await;
    tell(outcomes, |new| {
        format!("generation {generation} is in force again, as generation {new}")
    })
}

async fn diff(session: &Session, old: Option<u64>, new: Option<u64>) -> Result<(), Failure> {
    let outcomes = fleet::ask(session.targets()?, |target| async move {
        let link = session.connect(&target).await?;
        let newer = document(&link, new.unwrap_or(0)).await?;
        let older = match old {
            Some(old) => old,
            None => before(&generations(&link).await?, newer.generation).ok_or_else(|| {
                Failure::failed(format!(
                    "{}: nothing is kept from before generation {}",
                    target.label(),
                    newer.generation
                ))
            })?,
        };
        let older = document(&link, older).await?;
        Ok(unified(&older, &newer))
    })
    .await;
    show_diffs(outcomes)
}

fn before(kept: &[Generation], number: u64) -> Option<u64> {
    kept.iter()
        .map(|one| one.number)
        .filter(|older| *older < number)
        .max()
}

fn unified(older: &GetConfigResponse, newer: &GetConfigResponse) -> String {
    let diff = TextDiff::from_lines(older.document.as_str(), newer.document.as_str());
    let names = (
        format!("generation {}", older.generation),
        format!("generation {}", newer.generation),
    );
    diff.unified_diff().header(&names.0, &names.1).to_string()
}

/// The machine itself compares: it knows the secrets, of which only "changed" may be shown.
async fn diff_file(
    session: &Session,
    file: &std::path::Path,
    secrets: Option<&std::path::Path>,
) -> Result<(), Failure> {
    let documents = documents::read(&[file.to_owned()], secrets)?;
    let stream = documents
        .first()
        .map(|document| document.stream.expose().as_bytes().to_vec());
    let stream = &stream.unwrap_or_default();
    let outcomes = fleet::ask(vec![session.target("config diff")?], |target| async move {
        let link = session.connect(&target).await?;
        let request = ApplyConfigRequest {
            document: stream.clone(),
            mode: ApplyMode::Auto.into(),
            dry_run: true,
            ..Default::default()
        };
        Ok(link
            .call("config diff", link.machine().apply_config(request))
            .await?
            .diff)
    })
    .await;
    show_diffs(outcomes)
}

fn show_diffs(outcomes: Vec<Outcome<String>>) -> Result<(), Failure> {
    let several = outcomes.len() > 1;
    for (node, diff) in fleet::good(&outcomes) {
        if several {
            files::print(&format!("# {node}\n"))?;
        }
        files::print(diff)?;
        if diff.is_empty() {
            crate::tell!("{node}: no difference");
        }
    }
    fleet::conclude(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_before_may_not_be_the_number_before() {
        let kept = [1, 4, 9].map(|number| Generation {
            number,
            ..Default::default()
        });
        assert_eq!((before(&kept, 9), before(&kept, 1)), (Some(4), None));
    }
}
