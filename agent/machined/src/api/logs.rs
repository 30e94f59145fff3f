//! Logs of services and the kernel, read by `journalctl`: it alone knows every journal format.

use std::path::PathBuf;
use std::process::Stdio;

use futures_util::Stream;
use futures_util::stream::unfold;
use machined_proto::v1;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tonic::Status;

/// The longest line of JSON; a longer one is passed over with a word.
const LINE: usize = 256 * 1024;

/// The longest message handed on, in bytes.
const MESSAGE: usize = 64 * 1024;

/// What is kept of journalctl's complaints.
const COMPLAINT: u64 = 1024;

/// Where logs come from.
#[derive(Debug, Clone)]
pub struct Journal {
    program: PathBuf,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            program: PathBuf::from("/usr/bin/journalctl"),
        }
    }
}

impl Journal {
    /// With another program in its place.
    #[cfg(test)]
    pub(super) fn with(program: PathBuf) -> Self {
        Self { program }
    }

    /// Lines as a request wants them.
    pub(super) fn logs(
        &self,
        request: &v1::LogsRequest,
    ) -> Result<impl Stream<Item = Result<v1::LogLine, Status>> + Send + use<>, Status> {
        self.run(&arguments(request)?)
    }

    /// The kernel's lines of this boot.
    pub(super) fn dmesg(
        &self,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<v1::LogLine, Status>> + Send + use<>, Status> {
        let mut arguments = vec!["--dmesg".to_owned()];
        arguments.extend(ending(follow, 0));
        self.run(&arguments)
    }

    fn run(
        &self,
        arguments: &[String],
    ) -> Result<impl Stream<Item = Result<v1::LogLine, Status>> + Send + use<>, Status> {
        let mut child = Command::new(&self.program)
            .args([
                "--quiet",
                "--no-pager",
                "--output=json",
                // Without it long messages come as null.
                "--all",
                "--output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER",
            ])
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // The caller hangs up, the stream is dropped, the program goes.
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Status::internal(format!("cannot run {}: {e}", self.program.display())))?;
        let output = child
            .stdout
            .take()
            .ok_or_else(|| Status::internal("journalctl is mute"))?;
        let reader = Reader {
            child,
            output: BufReader::new(output),
            ended: false,
        };
        Ok(unfold(reader, |mut reader| async move {
            Some((reader.next().await?, reader))
        }))
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

struct Reader {
    child: Child,
    output: BufReader<ChildStdout>,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<v1::LogLine, Status>> {
        if self.ended {
            return None;
        }
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(LINE).unwrap_or(u64::MAX);
            let read = (&mut self.output)
                .take(limit)
                .read_until(b'\n', &mut line)
                .await;
            match read {
                Err(e) => {
                    self.ended = true;
                    return Some(Err(Status::internal(format!(
                        "cannot read journalctl: {e}"
                    ))));
                }
                Ok(0) => {
                    self.ended = true;
                    return self.verdict().await.map(Err);
                }
                Ok(LINE) if line.last() != Some(&b'\n') => {
                    if self.skip_line().await.is_err() {
                        self.ended = true;
                    }
                    let message = format!("<a record of more than {LINE} bytes>");
                    return Some(Ok(v1::LogLine {
                        message,
                        ..Default::default()
                    }));
                }
                Ok(_) => {
                    if let Some(line) = parse(&line) {
                        return Some(Ok(line));
                    }
                }
            }
        }
    }

    async fn skip_line(&mut self) -> std::io::Result<()> {
        loop {
            let buffer = self.output.fill_buf().await?;
            let newline = buffer.iter().position(|b| *b == b'\n');
            let (length, at_end) = (buffer.len(), buffer.is_empty());
            self.output.consume(newline.map_or(length, |at| at + 1));
            if newline.is_some() || at_end {
                return Ok(());
            }
        }
    }

    async fn verdict(&mut self) -> Option<Status> {
        let mut complaint = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(COMPLAINT).read_to_end(&mut complaint).await;
        }
        match self.child.wait().await {
            Ok(status) if status.success() => None,
            Ok(status) => {
                let complaint = String::from_utf8_lossy(&complaint);
                let why = complaint.trim();
                // No such boot, unreadable journals: words for the caller.
                Some(Status::failed_precondition(match why.is_empty() {
                    true => format!("journalctl ended with {status}"),
                    false => format!("journalctl: {why}"),
                }))
            }
            Err(e) => Some(Status::internal(format!("journalctl: {e}"))),
        }
    }
}

fn parse(line: &[u8]) -> Option<v1::LogLine> {
    let record: Value = serde_json::from_slice(line).ok()?;
    let field = |name: &str| record.get(name).map(text);
    let micros = record.get("__REALTIME_TIMESTAMP").and_then(Value::as_str);
    let time_ms = micros
        .and_then(|us| us.parse::<i64>().ok())
        .map_or(0, |us| us / 1000);
    let unit = field("UNIT").or_else(|| field("_SYSTEMD_UNIT"));
    let priority = field("PRIORITY").and_then(|p| p.parse().ok());
    Some(v1::LogLine {
        time_ms,
        unit: unit
            .or_else(|| field("SYSLOG_IDENTIFIER"))
            .unwrap_or_default(),
        message: shorten(field("MESSAGE").unwrap_or_default()),
        priority: priority.unwrap_or(6),
    })
}

// A field is text; a list of bytes where it is not UTF-8; a list of those where it was given twice.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let byte = |item: &Value| item.as_u64().and_then(|n| u8::try_from(n).ok());
            match items.iter().map(byte).collect::<Option<Vec<u8>>>() {
                Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                None => items.iter().map(text).collect::<Vec<_>>().join("\n"),
            }
        }
        _ => String::new(),
    }
}

fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE {
        message.truncate(message.floor_char_boundary(MESSAGE));
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests;
