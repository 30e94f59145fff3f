//! What this machine remembers of having joined etcd's cluster, durable before
//! its etcd is told to begin: a second start with another story could make a
//! second cluster of a half-made one.

use std::path::Path;

use machine_plan::membership::Membership;

use super::{LedgerError, io};
use crate::durable;

const FILE: &str = "etcd.membership";

pub(super) fn read(directory: &Path) -> Result<Option<Membership>, LedgerError> {
    let path = directory.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io("read", &path)(e)),
    };
    let read = serde_json::from_slice::<Membership>(&bytes).map_err(std::io::Error::from);
    let read = read.and_then(|kept| match kept.version {
        Membership::VERSION => Ok(kept),
        other => Err(std::io::Error::other(format!(
            "its version is {other}, this agent knows {}",
            Membership::VERSION
        ))),
    });
    read.map(Some).map_err(io("understand", &path))
}

pub(super) fn keep(directory: &Path, membership: &Membership) -> Result<(), LedgerError> {
    let path = directory.join(FILE);
    let bytes = serde_json::to_vec(membership).map_err(|e| io("encode", &path)(e.into()))?;
    durable::replace(&path, &bytes, 0o600).map_err(io("write", &path))
}

/// Forgets it; what is not there is forgotten.
pub(super) fn forget(directory: &Path) -> Result<(), LedgerError> {
    let path = directory.join(FILE);
    match durable::remove(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(io("remove", &path))?,
    }
    durable::sync(directory).map_err(io("write", directory))
}
