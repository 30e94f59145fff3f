//! `logs` and `dmesg`.

use jiff::Timestamp;
use machined_proto::v1::{DmesgRequest, LogLine, LogsRequest};

use crate::args::{Common, LogsArgs};
use crate::failure::Failure;
use crate::session::Session;
use crate::streams;
use crate::time;

/// Shows a unit's log.
pub(super) async fn run(common: &Common, args: LogsArgs) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let since = args
        .since
        .as_deref()
        .map(|text| time::since(text, Timestamp::now()));
    let everything = args.unit.is_empty();
    let request = &LogsRequest {
        unit: args.unit,
        follow: args.follow,
        since_ms: since.transpose().map_err(Failure::usage)?.unwrap_or(0),
        tail: args.tail,
        boot: args.boot,
    };
    streams::show(
        session,
        session.targets()?,
        "logs",
        |mut machine| async move { machine.logs(request.clone()).await },
        |node, line| Some(text(node, line, everything)),
    )
    .await
}

/// Shows the kernel's log.
pub(super) async fn dmesg(common: &Common, follow: bool) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    streams::show(
        session,
        session.targets()?,
        "dmesg",
        |mut machine| async move { machine.dmesg(DmesgRequest { follow }).await },
        |node, line| Some(text(node, line, false)),
    )
    .await
}

fn text(node: Option<&str>, line: &LogLine, with_unit: bool) -> String {
    let node = node.map(|node| format!("{node} ")).unwrap_or_default();
    let unit = if with_unit {
        format!("{} ", line.unit)
    } else {
        String::new()
    };
    // A log may hold anything, and must not drive the terminal it is shown on.
    let message: String = line
        .message
        .chars()
        .map(|c| if c.is_control() && c != '\t' { ' ' } else { c })
        .collect();
    format!("{node}{} {unit}{message}\n", time::shown(line.time_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_cannot_drive_the_terminal() {
        let line = LogLine {
            time_ms: 1,
            unit: "kubelet.service".into(),
            message: "a\u{1b}[2Jb\tc".into(),
            priority: 6,
        };
        assert_eq!(
            text(None, &line, true),
            "1970-01-01T00:00:00Z kubelet.service a [2Jb\tc\n"
        );
    }
}
