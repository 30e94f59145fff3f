//! Files that are there as a whole or not at all, also after a power cut. What the agent does to a disk
//! is done here, step by step: so tests can end it, or take the power away, between any two.

#[cfg(test)]
pub(crate) mod steps;

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

macro_rules! step {
    ($step:ident($($part:expr),+)) => {
        #[cfg(test)]
        steps::take(steps::Step::$step($($part.into()),+))?;
    };
}

/// Replaces a file: temporary file beside it with the mode from the first byte
/// on, fsync, rename, fsync of the directory.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let temporary = beside(path)?;
    let written = write_new(&temporary, bytes, mode).and_then(|()| {
        rename(&temporary, path)?;
        sync(directory)
    });
    if written.is_err() {
        let _ = remove(&temporary);
    }
    written
}

/// Makes what was renamed or removed in a folder last over a power cut.
pub fn sync(directory: &Path) -> io::Result<()> {
    step!(Sync(directory));
    File::open(directory)?.sync_all()
}

/// Makes everything below a folder last over a power cut.
pub fn sync_all(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_all(&entry.path())?,
            false => sync(&entry.path())?,
        }
    }
    sync(directory)
}

/// Renames. It lasts once its folders are synced.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step!(Rename(from, to));
    std::fs::rename(from, to)
}

/// Removes a file. It lasts once its folder is synced.
pub fn remove(path: &Path) -> io::Result<()> {
    step!(Remove(path));
    std::fs::remove_file(path)
}

/// Removes a folder with all that is in it. It lasts once the folder above is synced.
pub fn remove_all(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => remove_all(&entry.path())?,
            false => remove(&entry.path())?,
        }
    }
    step!(Remove(directory));
    std::fs::remove_dir(directory)
}

/// Makes a folder of exactly this mode, which lasts.
pub fn make_directory(directory: &Path, mode: u32) -> io::Result<()> {
    make(directory, mode)?;
    // The umask may have taken bits away.
    std::fs::set_permissions(directory, Permissions::from_mode(mode))
}

/// Makes a folder and those above it where they are missing. They last: a file that is synced in a
/// folder whose own name is lost is lost.
pub fn make_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    make_directories(directory.parent().ok_or(ErrorKind::InvalidInput)?)?;
    match make(directory, 0o755) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn make(directory: &Path, mode: u32) -> io::Result<()> {
    let above = directory.parent().ok_or(ErrorKind::InvalidInput)?;
    step!(Make(directory, mode));
    DirBuilder::new().mode(mode).create(directory)?;
    sync(above)
}

/// Points a symbolic link at a file, in one step.
pub fn link(path: &Path, target: &Path) -> io::Result<()> {
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let temporary = beside(path)?;
    let _ = remove(&temporary);
    step!(Link(temporary.as_path(), target));
    std::os::unix::fs::symlink(target, &temporary)?;
    rename(&temporary, path)?;
    sync(directory)
}

// A fixed name: what a crash leaves behind is overwritten by the next try and
// never piles up. There is one writer.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    Ok(path.with_file_name(temporary))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let _ = remove(path);
    step!(Create(path, mode));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    // The process' umask took bits away; it never gives any, so nobody could
    // read what is not written yet.
    file.set_permissions(Permissions::from_mode(mode))?;
    step!(Write(path, bytes));
    file.write_all(bytes)?;
    step!(Sync(path));
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_the_one_asked_for_whatever_the_umask() {
        let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        replace(&path, b"text", 0o644).unwrap();
        nix::sys::stat::umask(before);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
