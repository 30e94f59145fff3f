//! Files: whole, durable, with their mode from the first byte.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use machine_plan::digest::digest;
use machine_plan::files::RenderedFile;
use machine_plan::observed::{FileSeen, Probe};

use super::NodeError;
use crate::durable;

/// etcd makes this directory with its first write.
const ETCD_MEMBER: &str = "/var/lib/etcd/member";

/// Digest and mode of a file.
pub fn look(path: &str) -> Probe<FileSeen> {
    let read = || -> std::io::Result<FileSeen> {
        let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
        Ok(FileSeen {
            digest: digest(&std::fs::read(path)?),
            mode,
        })
    };
    probe(read())
}

/// Whether etcd has ever started here.
pub fn has_etcd_member() -> Probe<()> {
    probe(std::fs::metadata(ETCD_MEMBER).map(|_| ()))
}

/// Writes a file, making its directories (0755, but 0700 for manifests and keys).
pub fn write(file: &RenderedFile) -> Result<(), NodeError> {
    let path = Path::new(&file.path);
    let failed = |source| NodeError::File {
        operation: "write",
        path: file.path.clone(),
        source,
    };
    make_parent(path, file.mode).map_err(failed)?;
    durable::replace(path, file.content.expose().as_bytes(), file.mode).map_err(failed)
}

/// Removes a file; one that is not there is removed.
pub fn remove(path: &str) -> Result<(), NodeError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(NodeError::File {
            operation: "remove",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// A note of this boot, if it was taken.
pub fn note(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Takes a note. It lives on tmpfs: a new boot starts without any.
pub fn set_note(path: &Path, text: &str) -> Result<(), NodeError> {
    let written =
        make_parent(path, 0o600).and_then(|()| durable::replace(path, text.as_bytes(), 0o600));
    let path = path.display().to_string();
    written.map_err(|source| NodeError::File {
        operation: "write",
        path,
        source,
    })
}

pub(super) fn make_parent(path: &Path, file_mode: u32) -> std::io::Result<()> {
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mode = if file_mode & 0o077 == 0 { 0o700 } else { 0o755 };
    // Only the last one may be private: /etc/kubernetes is read by pods.
    if let Some(above) = directory.parent() {
        std::fs::create_dir_all(above)?;
    }
    match std::fs::DirBuilder::new().mode(mode).create(directory) {
        // The umask may have taken bits away.
        Ok(()) => std::fs::set_permissions(directory, Permissions::from_mode(mode)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn probe<T>(result: std::io::Result<T>) -> Probe<T> {
    match result {
        Ok(value) => Probe::Seen(value),
        Err(e) if e.kind() == ErrorKind::NotFound => Probe::Absent,
        Err(e) => Probe::Unreadable(e.to_string()),
    }
}
