//! The journal, read by `journalctl`: it alone knows every journal format.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// The longest line of JSON; a longer one is passed over with a word.
const LINE: usize = 256 * 1024;

/// The longest message handed on, in bytes.
const MESSAGE: usize = 64 * 1024;

/// What is kept of journalctl's complaints.
const COMPLAINT: u64 = 1024;

/// The longest that a unit's last lines may take to find.
const LAST: Duration = Duration::from_secs(10);

/// How many of them are read: a fatal error may be followed by every thread's stack.
const LAST_LINES: u32 = 200;

/// Why there are no lines, or no more.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The program did not start.
    #[error("cannot run {}: {source}", program.display())]
    Run {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It could not be listened to.
    #[error("cannot read journalctl: {0}")]
    Read(std::io::Error),
    /// It gave up, with these words: no such boot, unreadable journals.
    #[error("{0}")]
    Ended(String),
}

/// A record, as far as anybody here cares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since the epoch.
    pub time_ms: i64,
    /// The unit, or else who logged it.
    pub unit: String,
    /// The text.
    pub message: String,
    /// syslog's: 0 emergency to 7 debug.
    pub priority: u32,
}

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
    pub fn with(program: PathBuf) -> Self {
        Self { program }
    }

    /// What `journalctl` prints with these arguments.
    pub fn run(
        &self,
        arguments: &[String],
    ) -> Result<impl Stream<Item = Result<Line, JournalError>> + Send + use<>, JournalError> {
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
            .map_err(|source| JournalError::Run {
                program: self.program.clone(),
                source,
            })?;
        let output = child
            .stdout
            .take()
            .ok_or_else(|| JournalError::Ended("journalctl is mute".to_owned()))?;
        let reader = Reader {
            child,
            output: BufReader::new(output),
            ended: false,
        };
        Ok(unfold(reader, |mut reader| async move {
            Some((reader.next().await?, reader))
        }))
    }

    /// The last lines that a unit's own processes logged in this boot, oldest first; where there
    /// are none, what systemd said of it. Empty where they cannot be had in time: whoever asks has
    /// worse to tell.
    pub async fn last(&self, unit: &str) -> Vec<String> {
        for filter in [format!("_SYSTEMD_UNIT={unit}"), format!("--unit={unit}")] {
            let arguments = [
                format!("--lines={LAST_LINES}"),
                "--boot=0".to_owned(),
                filter,
            ];
            let Ok(lines) = self.run(&arguments) else {
                return Vec::new();
            };
            let lines = lines.filter_map(async |line| line.ok().map(|l| l.message));
            let lines = tokio::time::timeout(LAST, lines.collect::<Vec<_>>()).await;
            match lines {
                Ok(lines) if lines.is_empty() => {}
                lines => return lines.unwrap_or_default(),
            }
        }
        Vec::new()
    }
}

/// One line of bounded length, whatever the text holds.
pub fn clipped(text: &str, longest: usize) -> String {
    let one_line = text.trim().replace(|c: char| c.is_control(), " ");
    match one_line.char_indices().nth(longest) {
        Some((at, _)) => format!("{}…", &one_line[..at]),
        None => one_line,
    }
}

struct Reader {
    child: Child,
    output: BufReader<ChildStdout>,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Line, JournalError>> {
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
                    return Some(Err(JournalError::Read(e)));
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
                    return Some(Ok(Line {
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

    async fn verdict(&mut self) -> Option<JournalError> {
        let mut complaint = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(COMPLAINT).read_to_end(&mut complaint).await;
        }
        match self.child.wait().await {
            Ok(status) if status.success() => None,
            Ok(status) => {
                let complaint = String::from_utf8_lossy(&complaint);
                let why = complaint.trim();
                Some(JournalError::Ended(match why.is_empty() {
                    true => format!("journalctl ended with {status}"),
                    false => format!("journalctl: {why}"),
                }))
            }
            Err(e) => Some(JournalError::Read(e)),
        }
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    let record: Value = serde_json::from_slice(line).ok()?;
    let field = |name: &str| record.get(name).map(text);
    let micros = record.get("__REALTIME_TIMESTAMP").and_then(Value::as_str);
    let time_ms = micros
        .and_then(|us| us.parse::<i64>().ok())
        .map_or(0, |us| us / 1000);
    let unit = field("UNIT").or_else(|| field("_SYSTEMD_UNIT"));
    let priority = field("PRIORITY").and_then(|p| p.parse().ok());
    Some(Line {
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
