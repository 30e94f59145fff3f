//! Who changed what: one line of JSON for every mutating call, durable before the caller hears of
//! success.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tonic::Status;

use super::peer::Peer;
use crate::conditions::{Condition, Kind, Source};
use crate::status::{Board, now_ms};

/// A file larger than this is put aside before the next line.
const ROTATE_AT: u64 = 1 << 20;

/// Files put aside and kept: `audit.log.1` is the youngest.
const KEPT: u32 = 4;

/// The longest result text; a document's many problems do not belong here.
const RESULT_LIMIT: usize = 300;

/// One line. It has no field that could hold a document or a secret.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    time_ms: i64,
    by: String,
    role: &'static str,
    remote: String,
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    result: String,
}

impl Record {
    /// A call that went well, unless told otherwise.
    pub fn new(peer: &Peer, method: &str) -> Self {
        Self {
            time_ms: now_ms(),
            by: peer.by(),
            role: peer.role_word(),
            remote: peer.remote().to_string(),
            method: method
                .chars()
                .filter(|c| !c.is_control())
                .take(64)
                .collect(),
            object: None,
            generation: None,
            result: "ok".to_owned(),
        }
    }

    /// What the call was about.
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// The generation that came of it.
    pub fn generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// A call that was refused or failed.
    pub fn refused(mut self, status: &Status) -> Self {
        let why: String = status.message().chars().take(RESULT_LIMIT).collect();
        self.result = format!("{:?}: {why}", status.code());
        self
    }
}

/// The log.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    path: PathBuf,
    board: Arc<Board>,
    writer: Mutex<()>,
}

impl Audit {
    /// Lines go to this file and, as events, to the board.
    pub fn new(path: &Path, board: Arc<Board>) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            board,
            writer: Mutex::default(),
        }))
    }

    /// Writes a line; durable when it returns.
    pub async fn append(&self, record: Record) -> io::Result<()> {
        let inner = Arc::clone(&self.0);
        let work = tokio::task::spawn_blocking(move || inner.append(&record));
        let done = work.await.unwrap_or_else(|e| Err(io::Error::other(e)));
        let wrong = done.as_ref().err().map(|why| {
            let message = format!("a line could not be written: {why}");
            Condition::new(Kind::AuditUnwritable, "audit log", message)
        });
        self.0
            .board
            .wrong(Source::Audit, wrong.into_iter().collect());
        done
    }

    /// Writes a line about something that happens whether or not it can be written: a refusal, or
    /// a reboot of a machine whose disk is full.
    pub async fn note(&self, record: Record) {
        // A failure is a condition by now.
        let _ = self.append(record).await;
    }
}

impl Inner {
    fn append(&self, record: &Record) -> io::Result<()> {
        let told = match record.generation {
            Some(generation) => format!(
                "{} by {}: generation {generation}",
                record.method, record.by
            ),
            None => format!("{} by {}: {}", record.method, record.by, record.result),
        };
        // The event first: it reaches the journal even when the disk is full.
        self.board.emit(
            "audit",
            record.object.as_deref().unwrap_or(&record.method),
            told,
        );
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let _one_writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.rotate()?;
        let (mut file, is_new) = self.open()?;
        if torn(&file)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        file.sync_data()?;
        if is_new {
            self.sync_directory()
        } else {
            Ok(())
        }
    }

    fn open(&self) -> io::Result<(File, bool)> {
        let is_new = !self.path.exists();
        if let (true, Some(directory)) = (is_new, self.path.parent()) {
            std::fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        Ok((file, is_new))
    }

    fn rotate(&self) -> io::Result<()> {
        match std::fs::metadata(&self.path) {
            Ok(facts) if facts.len() >= ROTATE_AT => {}
            _ => return Ok(()),
        }
        for age in (1..KEPT).rev() {
            match std::fs::rename(self.aside(age), self.aside(age + 1)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        std::fs::rename(&self.path, self.aside(1))?;
        self.sync_directory()
    }

    fn aside(&self, age: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{age}"));
        name.into()
    }

    fn sync_directory(&self) -> io::Result<()> {
        let directory = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        File::open(directory)?.sync_all()
    }
}

/// Whether a power cut left half a line, which the next one must not continue.
fn torn(file: &File) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = file.metadata()?.len().checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last != [b'\n'])
}

#[cfg(test)]
mod tests;
