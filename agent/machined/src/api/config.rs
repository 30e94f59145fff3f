//! Config calls: apply, confirm, get, history, rollback. No policy of the domain lives here.

use std::sync::Arc;
use std::time::SystemTime;

use machine_config::Bundle;
use machined_proto::v1;
use similar::TextDiff;
use tonic::Status;

use super::{convert, document};
use crate::ledger::{Acceptance, Entry, Ledger, Mode, State};

/// Seconds of a try that names none, and at most.
const TRY: (u32, u32) = (300, 86_400);

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// What became of a document.
pub(super) struct Applied {
    pub(super) response: v1::ApplyConfigResponse,
    /// Whether the ledger was written.
    pub(super) accepted: bool,
}

/// Checks a document and, unless that is all that was asked, has it accepted. Until the ledger
/// takes it nothing is changed, so a document that is refused or only tried on leaves a pending
/// try as it is.
pub(super) async fn apply(
    ledger: &Arc<Ledger>,
    request: v1::ApplyConfigRequest,
    by: String,
) -> Result<Applied, Status> {
    let mode = mode(&request)?;
    let (text, bundle) = document::read(request.document).await?;
    let ledger = Arc::clone(ledger);
    let expected = (request.expected_generation > 0).then_some(request.expected_generation);
    let dry_run = request.dry_run;
    let sent_ms = convert::sent(request.sent_ms);
    document::blocking(move || {
        accept(
            &ledger,
            Acceptance {
                text,
                bundle,
                sent_ms,
                by,
                mode,
                expected,
            },
            dry_run,
        )
    })
    .await?
}

fn accept(ledger: &Ledger, mut new: Acceptance, dry_run: bool) -> Result<Applied, Status> {
    let current = ledger.current();
    let newest = ledger.get(0).ok();
    if let (Some(expected), Some(newest)) = (new.expected, &newest)
        && expected != newest.generation.number
    {
        let newest = newest.generation.number;
        let stale = crate::ledger::LedgerError::Stale { expected, newest };
        return Err(convert::ledger(&stale));
    }
    if let Some(current) = &current {
        keep_secrets(current, &mut new)?;
        still_reachable(current, &new.bundle)?;
        same_machine(&current.bundle, &new.bundle)?;
    }
    let diff = diff(current.as_deref(), &new);
    let changed = current.as_ref().is_none_or(|c| c.text.expose() != new.text);
    let in_force = current.as_ref().map_or(0, |c| c.generation.number);
    // The same text again is no news, but only where it is in force for good and nothing newer
    // waits: otherwise sending it is how to call off a staged or tried generation.
    let settled = newest.is_some_and(|n| n.generation.number == in_force)
        && state_of(ledger, in_force) == Some(State::Confirmed);
    if dry_run || (!changed && settled) {
        let response = v1::ApplyConfigResponse {
            generation: in_force,
            diff,
            changed,
            revert_at_ms: 0,
        };
        return Ok(Applied {
            response,
            accepted: false,
        });
    }
    let timeout = match new.mode {
        Mode::Try { timeout_ms } => Some(timeout_ms),
        _ => None,
    };
    let generation = ledger.accept(new).map_err(|e| convert::ledger(&e))?;
    let accepted_ms = ledger
        .get(generation)
        .map_or(0, |e| e.generation.accepted_ms);
    let revert_at = |ms: u64| accepted_ms.saturating_add_unsigned(ms);
    let revert_at_ms = timeout.map_or(0, revert_at);
    let response = v1::ApplyConfigResponse {
        generation,
        diff,
        changed,
        revert_at_ms,
    };
    Ok(Applied {
        response,
        accepted: true,
    })
}

fn mode(request: &v1::ApplyConfigRequest) -> Result<Mode, Status> {
    match v1::ApplyMode::try_from(request.mode) {
        Ok(v1::ApplyMode::Auto | v1::ApplyMode::Unspecified) => Ok(Mode::Auto),
        Ok(v1::ApplyMode::Staged) => Ok(Mode::Staged),
        Ok(v1::ApplyMode::Try) => match request.try_timeout_seconds {
            0 => Ok(Mode::Try {
                timeout_ms: u64::from(TRY.0) * 1000,
            }),
            seconds if seconds <= TRY.1 => Ok(Mode::Try {
                timeout_ms: u64::from(seconds) * 1000,
            }),
            seconds => Err(Status::invalid_argument(format!(
                "try_timeout_seconds is {seconds}, more than {}",
                TRY.1
            ))),
        },
        Err(_) => Err(Status::invalid_argument(format!(
            "mode {} is not known",
            request.mode
        ))),
    }
}

/// A stream without secrets keeps the ones that are there, so that a change of config need not
/// carry them around. What the ledger keeps is the whole stream.
fn keep_secrets(current: &Entry, new: &mut Acceptance) -> Result<(), Status> {
    if new.bundle.secrets.is_some() || current.bundle.secrets.is_none() {
        return Ok(());
    }
    let kept = documents(current.text.expose());
    let whole = kept.into_iter().find_map(|document| {
        let marker = if document.starts_with("---") {
            ""
        } else {
            "---\n"
        };
        let text = format!("{}\n{marker}{document}", new.text.trim_end());
        let bundle = machine_config::read(text.as_bytes()).ok()?;
        let same = bundle.secrets == current.bundle.secrets;
        (same && bundle.config == new.bundle.config).then_some((text, bundle))
    });
    let whole = whole.ok_or_else(|| {
        Status::failed_precondition(
            "the secrets in force do not fit this document: send them along",
        )
    })?;
    (new.text, new.bundle) = whole;
    Ok(())
}

// Each with the marker line that begins it. `---` at the left margin begins a document wherever it
// stands, even in block text; PEM's five dashes do not.
fn documents(stream: &str) -> Vec<&str> {
    let (mut found, mut start, mut at) = (Vec::new(), 0, 0);
    for line in stream.split_inclusive('\n') {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            found.push(&stream[start..at]);
            start = at;
        }
        at += line.len();
    }
    found.push(&stream[start..]);
    found
}

/// New secrets must let the machine show who it is. Those in force are not judged again: a worker
/// may have outlived what it was enrolled with.
fn still_reachable(current: &Entry, new: &Bundle) -> Result<(), Status> {
    match current.bundle.secrets == new.secrets {
        true => Ok(()),
        false => document::reachable(new, SystemTime::now()),
    }
}

/// What a machine is cannot be changed under it: its data belongs to that role and that cluster.
fn same_machine(old: &Bundle, new: &Bundle) -> Result<(), Status> {
    const HINT: &str = "wipe the machine's state and enrol it again";
    const LEAVE: &str = "machinectl etcd leave, then wipe the machine's state and enrol it again";
    let (old, new) = (&old.config, &new.config);
    if old.role() != new.role() {
        let message = format!("the machine is a {}, not a {}", old.role(), new.role());
        return Err(convert::conflict("machine.role", message, HINT));
    }
    if old.cluster_id() != new.cluster_id() {
        let message = format!("the machine belongs to cluster {}", old.cluster_id());
        return Err(convert::conflict("cluster.id", message, HINT));
    }
    // A worker asks none of them.
    let moves = old.etcd_members().is_some() != new.etcd_members().is_some();
    if moves && old.role().holds_keys() {
        let message = match old.etcd_members() {
            Some(_) => "the cluster's data is in etcd on machines of its own",
            None => "the cluster's data is not in etcd on machines of its own",
        };
        let message = format!("{message}, and does not move by itself");
        return Err(convert::conflict("cluster.etcd.members", message, HINT));
    }
    if old.external_etcd().is_some() != new.external_etcd().is_some() {
        let message = match old.external_etcd() {
            Some(_) => "the cluster's data is in an etcd outside of it",
            None => "the cluster's data is in etcd on its control planes",
        };
        let message = format!("{message}, and does not move by itself");
        return Err(convert::conflict("cluster.etcd.external", message, HINT));
    }
    let (was, would) = (old.etcd_run_as(), new.etcd_run_as());
    if old.has_etcd_member() && was != would {
        let message = format!(
            "the machine's member of etcd is a {was}, and does not become a {would} by itself"
        );
        return Err(convert::conflict("cluster.etcd.runAs", message, LEAVE));
    }
    Ok(())
}

fn diff(current: Option<&Entry>, new: &Acceptance) -> String {
    let old = current.map(|c| c.bundle.redacted()).unwrap_or_default();
    let fresh = new.bundle.redacted();
    let name = match current {
        Some(entry) => format!("generation {}", entry.generation.number),
        None => "nothing".to_owned(),
    };
    let text = TextDiff::from_lines(old.as_str(), fresh.as_str())
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&name, "new")
        .to_string();
    let differs = current.is_none_or(|c| c.text.expose() != new.text);
    match text.is_empty() && differs {
        true => "# only comments, layout or the values of secrets differ\n".to_owned(),
        false => text,
    }
}

fn state_of(ledger: &Ledger, number: u64) -> Option<State> {
    ledger
        .list()
        .into_iter()
        .find(|(g, _)| g.number == number)
        .map(|(_, state)| state)
}

/// The document of a generation, secrets redacted.
pub(super) fn get(ledger: &Ledger, number: u64) -> Result<v1::GetConfigResponse, Status> {
    let entry = ledger.get(number).map_err(|e| convert::ledger(&e))?;
    Ok(v1::GetConfigResponse {
        generation: entry.generation.number,
        document: entry.bundle.redacted(),
    })
}

/// Makes an old document the newest generation, unless the machine has become another since.
pub(super) fn rollback(
    ledger: &Ledger,
    request: &v1::RollbackConfigRequest,
    by: String,
) -> Result<u64, Status> {
    let old = ledger
        .get(request.generation)
        .map_err(|e| convert::ledger(&e))?;
    if let Some(current) = ledger.current() {
        same_machine(&current.bundle, &old.bundle)?;
    }
    let expected = (request.expected_generation > 0).then_some(request.expected_generation);
    ledger
        .rollback(request.generation, expected, by)
        .map_err(|e| convert::ledger(&e))
}

/// All generations, oldest first.
pub(super) fn history(ledger: &Ledger) -> v1::ListGenerationsResponse {
    let current = ledger.current().map(|entry| entry.generation.number);
    let generations = ledger.list().into_iter().filter_map(|(generation, state)| {
        // Pruned since it was listed: not there any more.
        let entry = ledger.get(generation.number).ok()?;
        let is_current = current == Some(generation.number);
        Some(convert::generation(
            generation,
            &entry.digest,
            state,
            is_current,
        ))
    });
    v1::ListGenerationsResponse {
        generations: generations.collect(),
    }
}

#[cfg(test)]
mod tests;
