//! Files: whole, durable, with their mode from the first byte.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use machine_plan::digest::digest;
use machine_plan::files::RenderedFile;
use machine_plan::observed::{FileSeen, Probe};

use super::NodeError;
use crate::durable;

/// etcd writes its log here once it is somebody; what else is in its directory may be there before.
const ETCD_LOG: &str = "/var/lib/etcd/member/wal";

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

/// Paths that are there, or may be, of a shape with at most one `*` in it, which stands for any name.
pub fn of_shape(shape: &str) -> Vec<String> {
    let Some((before, after)) = shape.split_once('*') else {
        return vec![shape.to_owned()];
    };
    let (folder, first) = before.rsplit_once('/').unwrap_or_default();
    // What is not there, or cannot be read, has nothing of ours.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter_map(|name| match after.strip_prefix('/') {
            Some(file) => name
                .starts_with(first)
                .then(|| format!("{folder}/{name}/{file}")),
            None => (name.starts_with(first) && name.ends_with(after))
                .then(|| format!("{folder}/{name}")),
        })
        .collect()
}

/// Whether etcd has begun here: whether it has a log.
pub fn has_etcd_member() -> Probe<()> {
    has_log(Path::new(ETCD_LOG))
}

/// Whether there is a log in this folder.
pub fn has_log(folder: &Path) -> Probe<()> {
    let is_log = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|e| e == "wal");
    let found = std::fs::read_dir(folder).and_then(|entries| {
        for entry in entries {
            if is_log(entry?) {
                return Ok(());
            }
        }
        Err(ErrorKind::NotFound.into())
    });
    probe(found)
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
    match durable::remove(Path::new(path)) {
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

/// It was taken, and nobody can tell any more what it should say.
pub fn doubt_note(path: &Path) -> Result<(), NodeError> {
    set_note(path, "")
}

/// As if it had never been taken.
pub fn forget_note(path: &Path) -> Result<(), NodeError> {
    remove(&path.display().to_string())
}

pub(super) fn make_parent(path: &Path, file_mode: u32) -> std::io::Result<()> {
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mode = if file_mode & 0o077 == 0 { 0o700 } else { 0o755 };
    // Only the last one may be private: /etc/kubernetes is read by pods.
    if let Some(above) = directory.parent() {
        durable::make_directories(above)?;
    }
    match durable::make_directory(directory, mode) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn probe<T>(result: std::io::Result<T>) -> Probe<T> {
    match result {
        Ok(value) => Probe::Seen(value),
        Err(e) if e.kind() == ErrorKind::NotFound => Probe::Absent,
        Err(e) => Probe::Unreadable(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_shape_finds_what_may_be_ours_and_nothing_else() {
        let scratch = Scratch::new();
        let root = scratch.path().display().to_string();
        for name in ["10-ours-0.network", "10-ours-a.network", "20-x.network"] {
            durable::replace(&scratch.path().join(name), b"", 0o600).unwrap();
        }
        std::fs::create_dir(scratch.path().join("registry.example")).unwrap();
        let found = |shape: &str| {
            let mut found = of_shape(&format!("{root}/{shape}"));
            found.sort();
            let prefix = format!("{root}/");
            let short = found.iter().map(|path| path.replacen(&prefix, "", 1));
            short.collect::<Vec<_>>()
        };
        let ours = ["10-ours-0.network", "10-ours-a.network"];
        assert_eq!(found("10-ours-*.network"), ours);
        assert_eq!(found("one.conf"), ["one.conf"]);
        assert!(found("registry*/hosts.toml").contains(&"registry.example/hosts.toml".to_owned()));
        assert_eq!(found("nowhere/10-*"), [""; 0]);
    }
}
