//! Logs of services and the kernel, as calls ask for them.

use futures_util::{Stream, StreamExt};
use machined_proto::v1;
use tonic::Status;

use crate::journal::{Journal, JournalError, Line};

impl Journal {
    /// Lines as a request wants them.
    pub(super) fn logs(
        &self,
        request: &v1::LogsRequest,
    ) -> Result<impl Stream<Item = Result<v1::LogLine, Status>> + Send + use<>, Status> {
        self.told(&arguments(request)?)
    }

    /// The kernel's lines of this boot.
    pub(super) fn dmesg(
        &self,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<v1::LogLine, Status>> + Send + use<>, Status> {
        let mut arguments = vec!["--dmesg".to_owned()];
        arguments.extend(ending(follow, 0));
        self.told(&arguments)
    }

    fn told(
        &self,
        arguments: &[String],
    ) -> Result<impl Stream<Item = Result<v1::LogLine, Status>> + Send + use<>, Status> {
        let lines = self.run(arguments).map_err(|e| status(&e))?;
        Ok(lines.map(|line| line.map(told).map_err(|e| status(&e))))
    }
}

fn status(error: &JournalError) -> Status {
    match error {
        JournalError::Ended(_) => Status::failed_precondition(error.to_string()),
        JournalError::Run { .. } | JournalError::Read(_) => Status::internal(error.to_string()),
    }
}

fn told(line: Line) -> v1::LogLine {
    v1::LogLine {
        time_ms: line.time_ms,
        unit: line.unit,
        message: line.message,
        priority: line.priority,
    }
}

fn arguments(request: &v1::LogsRequest) -> Result<Vec<String>, Status> {
    let mut arguments = Vec::new();
    if !request.unit.is_empty() {
        arguments.push(format!("--unit={}", unit(&request.unit)?));
    }
    if request.boot > 0 {
        return Err(Status::invalid_argument(
            "boot counts back from 0, this boot: -1, -2, …",
        ));
    }
    arguments.push(format!("--boot={}", request.boot));
    if request.since_ms != 0 {
        let since_ms = u64::try_from(request.since_ms)
            .map_err(|_| Status::invalid_argument("since_ms is before the epoch"))?;
        arguments.push(format!(
            "--since=@{}.{:03}",
            since_ms / 1000,
            since_ms % 1000
        ));
    }
    arguments.extend(ending(request.follow, request.tail));
    Ok(arguments)
}

fn ending(follow: bool, tail: u32) -> impl Iterator<Item = String> {
    // Following alone would begin with the last ten lines.
    let lines = match tail {
        0 if follow => Some("--lines=all".to_owned()),
        0 => None,
        tail => Some(format!("--lines={tail}")),
    };
    lines
        .into_iter()
        .chain(follow.then(|| "--follow".to_owned()))
}

/// A unit's full name. Patterns and anything else that is not a plain name are refused.
pub(super) fn unit(name: &str) -> Result<String, Status> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":_.@-\\".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(plain) || name.starts_with('-') {
        return Err(Status::invalid_argument("that is no unit's name"));
    }
    Ok(if name.contains('.') {
        name.to_owned()
    } else {
        format!("{name}.service")
    })
}

#[cfg(test)]
mod tests;
