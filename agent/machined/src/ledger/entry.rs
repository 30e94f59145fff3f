//! One generation on disk and in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine_config::Bundle;
use machine_pki::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Acceptance, LedgerError, Now, io};
use crate::durable;

const HEADER: &str = "machined-ledger/v1 sha256:";

/// When a generation takes force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// At once.
    Auto,
    /// At the next boot.
    Staged,
    /// At once, until this moment of this boot unless confirmed.
    Try {
        /// Milliseconds from acceptance.
        timeout_ms: u64,
    },
}

/// What is known of a generation besides its document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// From 1, without gaps in what was acknowledged.
    pub number: u64,
    /// Wall clock at acceptance, milliseconds since the epoch; for people only.
    pub accepted_ms: i64,
    /// The sender's wall clock, milliseconds since the epoch, where it told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ms: Option<i64>,
    /// Who sent it.
    pub by: String,
    /// How it takes force.
    pub mode: Mode,
    /// The boot it was accepted in.
    pub boot_id: String,
    /// CLOCK_BOOTTIME at acceptance, milliseconds.
    pub boottime_ms: u64,
}

/// A generation's state, derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// For good.
    Confirmed,
    /// In force until its time is over.
    Trying,
    /// Waits for the next boot.
    Staged,
    /// Was not confirmed in time.
    Reverted,
}

impl State {
    /// The word used in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Trying => "trying",
            Self::Staged => "staged",
            Self::Reverted => "reverted",
        }
    }
}

/// A readable generation.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its metadata.
    pub generation: Generation,
    /// The document stream as accepted; it may hold secrets.
    pub text: Secret,
    /// What it says.
    pub bundle: Bundle,
    /// Hex SHA-256 of the document.
    pub digest: String,
    pub(super) confirmed: bool,
    pub(super) reverted: bool,
}

impl Entry {
    pub(super) fn new(number: u64, acceptance: Acceptance, now: &Now) -> Self {
        let generation = Generation {
            number,
            accepted_ms: now.wall_ms,
            sent_ms: acceptance.sent_ms,
            by: acceptance.by,
            mode: acceptance.mode,
            boot_id: now.boot_id.clone(),
            boottime_ms: now.boottime_ms,
        };
        Self {
            generation,
            digest: hex(acceptance.text.as_bytes()),
            text: Secret::new(acceptance.text),
            bundle: acceptance.bundle,
            confirmed: false,
            reverted: false,
        }
    }

    pub(super) fn write(&self, directory: &Path) -> Result<(), LedgerError> {
        let path = file(directory, self.generation.number, "generation");
        let meta =
            serde_json::to_string(&self.generation).map_err(|e| io("encode", &path)(e.into()))?;
        let body = format!("{meta}\n{}", self.text.expose());
        let whole = Secret::new(format!("{HEADER}{}\n{body}", hex(body.as_bytes())));
        durable::replace(&path, whole.expose().as_bytes(), 0o600).map_err(io("write", &path))
    }

    fn read(path: &Path) -> Result<Self, String> {
        let whole = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        let whole = Secret::new(whole);
        let (header, body) = whole.expose().split_once('\n').ok_or("it has no header")?;
        let digest = header
            .strip_prefix(HEADER)
            .ok_or("it is not a version 1 ledger file")?;
        if digest != hex(body.as_bytes()) {
            return Err("its checksum does not match".to_owned());
        }
        let (meta, text) = body.split_once('\n').ok_or("it has no document")?;
        let generation: Generation = serde_json::from_str(meta).map_err(|e| e.to_string())?;
        let bundle = machine_config::read(text.as_bytes())
            .map_err(|problems| format!("its document is not valid to this version: {problems}"))?;
        Ok(Self {
            confirmed: path.with_extension("confirmed").exists(),
            reverted: path.with_extension("reverted").exists(),
            digest: hex(text.as_bytes()),
            text: Secret::new(text.to_owned()),
            generation,
            bundle,
        })
    }
}

type Found = (Vec<Arc<Entry>>, Vec<(u64, String)>, u64);

/// All generations in a directory: readable entries oldest first, complaints,
/// and the highest number seen in any file's name, readable or not, so that a
/// number is never given twice.
pub(super) fn read_all(directory: &Path) -> Result<Found, LedgerError> {
    let (mut entries, mut unreadable, mut newest) = (Vec::new(), Vec::new(), 0);
    for item in std::fs::read_dir(directory).map_err(io("list", directory))? {
        let path = item.map_err(io("list", directory))?.path();
        if path.extension().is_none_or(|e| e != "generation") {
            continue;
        }
        let number = path
            .file_stem()
            .and_then(|s| s.to_str())
            .and_then(|s| s.parse::<u64>().ok());
        newest = newest.max(number.unwrap_or(0));
        match Entry::read(&path) {
            Ok(entry) => entries.push(Arc::new(entry)),
            // One whose name is no number may be of any time.
            Err(why) => unreadable.push((
                number.unwrap_or(u64::MAX),
                format!("{}: {why}", path.display()),
            )),
        }
    }
    entries.sort_by_key(|e| e.generation.number);
    Ok((entries, unreadable, newest))
}

pub(super) fn mark(directory: &Path, number: u64, what: &str) -> Result<(), LedgerError> {
    let path = file(directory, number, what);
    durable::replace(&path, b"", 0o600).map_err(io("write", &path))
}

pub(super) fn remove(directory: &Path, number: u64) {
    // The document last: a mark without a document is ignored.
    for what in ["confirmed", "reverted", "generation"] {
        let _ = std::fs::remove_file(file(directory, number, what));
    }
}

pub(super) fn change(entries: &mut [Arc<Entry>], number: u64, edit: impl FnOnce(&mut Entry)) {
    if let Some(entry) = entries.iter_mut().find(|e| e.generation.number == number) {
        edit(Arc::make_mut(entry));
    }
}

fn file(directory: &Path, number: u64, extension: &str) -> PathBuf {
    directory.join(format!("{number:010}.{extension}"))
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}
