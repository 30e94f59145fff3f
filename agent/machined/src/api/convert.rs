//! The only place where the domain's words meet protobuf's.

use machine_config::Problems;
use machined_proto::v1;
use prost::Message;
use tonic::{Code, Status};

use crate::conditions::Condition;
use crate::ledger::{Generation, LedgerError, State};
use crate::status;

/// Bytes of problems sent along with a refusal. They travel in HTTP/2 trailers, which clients
/// bound (16 KiB is usual), and grow by a third on the way. Whoever has more runs the validator.
const DETAILS: usize = 8 * 1024;

/// Problems told in the message itself.
const TOLD: usize = 3;

/// The longest message; its blanks grow threefold on the way.
const MESSAGE: usize = 800;

/// A refused document, with its problems as details.
pub fn problems(problems: &Problems) -> Status {
    let (mut details, mut size) = (v1::Problems::default(), 0);
    for problem in problems {
        let converted = v1::Problem {
            line: u32::try_from(problem.line).unwrap_or(0),
            column: u32::try_from(problem.column).unwrap_or(0),
            path: problem.path.clone(),
            message: problem.message.clone(),
            hint: problem.hint.clone().unwrap_or_default(),
        };
        size += converted.encoded_len() + 4;
        if size > DETAILS {
            break;
        }
        details.problems.push(converted);
    }
    let left_out = problems.len() - details.problems.len();
    if left_out > 0 {
        let message = format!("{left_out} more problems are not listed");
        details.problems.push(v1::Problem {
            message,
            ..Default::default()
        });
    }
    let mut told: Vec<_> = problems
        .iter()
        .take(TOLD)
        .map(ToString::to_string)
        .collect();
    if problems.len() > TOLD {
        told.push("…".to_owned());
    }
    let plural = if problems.len() == 1 { "" } else { "s" };
    let message = format!("{} problem{plural}: {}", problems.len(), told.join("; "));
    let message: String = message.chars().take(MESSAGE).collect();
    Status::with_details(
        Code::InvalidArgument,
        message,
        details.encode_to_vec().into(),
    )
}

/// One problem that no document alone has: it is about what is there already.
pub fn conflict(path: &str, message: String, hint: &str) -> Status {
    let problem = v1::Problem {
        path: path.to_owned(),
        message: message.clone(),
        hint: hint.to_owned(),
        ..Default::default()
    };
    let details = v1::Problems {
        problems: vec![problem],
    }
    .encode_to_vec();
    let message = format!("{path}: {message} ({hint})");
    Status::with_details(Code::FailedPrecondition, message, details.into())
}

/// An intermediate as JSON; `null` before the first look.
pub fn json<T: serde::Serialize>(value: Option<&T>) -> Result<String, Status> {
    serde_json::to_string(&value)
        .map_err(|e| Status::internal(format!("write the intermediate as JSON: {e}")))
}

/// What the ledger refused.
pub fn ledger(error: &LedgerError) -> Status {
    let message = chain(error);
    match error {
        LedgerError::Io { source, .. }
            if matches!(
                source.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ) =>
        {
            Status::resource_exhausted(format!(
                "{message}; nothing was accepted, and what was accepted before is kept: \
                 free space on the state partition (machinectl status names what is full), \
                 then send it again"
            ))
        }
        LedgerError::Io { .. } => Status::unavailable(format!("{message}; nothing was accepted")),
        LedgerError::Stale { .. } => Status::aborted(message),
        LedgerError::Missing(_) => Status::not_found(message),
        LedgerError::NoTry | LedgerError::OtherTry { .. } | LedgerError::Bootstrapped { .. } => {
            Status::failed_precondition(message)
        }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// A sender's clock; protobuf's absent value is 0.
pub fn sent(ms: i64) -> Option<i64> {
    (ms > 0).then_some(ms)
}

/// One line of the history.
pub fn generation(
    generation: Generation,
    digest: &str,
    state: State,
    current: bool,
) -> v1::Generation {
    v1::Generation {
        number: generation.number,
        accepted_ms: generation.accepted_ms,
        by: generation.by,
        digest: format!("sha256:{digest}"),
        state: state.word().to_owned(),
        current,
    }
}

/// One event.
pub fn event(event: status::Event) -> v1::Event {
    v1::Event {
        number: event.number,
        time_ms: event.time_ms,
        kind: event.kind.to_owned(),
        object: event.object,
        message: event.message,
    }
}

/// One stage.
pub fn stage(stage: status::StageStatus) -> v1::Stage {
    v1::Stage {
        name: stage.name.to_owned(),
        verdict: stage.verdict.to_owned(),
        message: stage.message,
    }
}

/// One condition.
pub fn condition(condition: Condition) -> v1::Condition {
    v1::Condition {
        name: condition.kind.word().to_owned(),
        object: condition.object,
        message: condition.message,
        next_step: condition.next_step,
        since_ms: condition.since_ms,
        log: condition.log,
    }
}
