//! Files on the workstation: read with a plain-words failure, written whole or not at all.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use atomic_write_file::OpenOptions;
use atomic_write_file::unix::OpenOptionsExt as _;

use crate::failure::Failure;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner only: it holds a secret.
    Owner,
    /// Everyone.
    Everyone,
}

/// Reads a whole file; `-` is standard input.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    // One byte more than a machine takes is enough to say that it is too much.
    let most = u64::try_from(machined_proto::DOCUMENT_LIMIT).unwrap_or(u64::MAX) + 1;
    let mut bytes = Vec::new();
    let outcome = if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    outcome
        .map_err(|error| Failure::usage(format!("read {}: {}", path.display(), plain(&error))))?;
    Ok(bytes)
}

/// Reads a whole file as text.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read(path)?)
        .map_err(|_| Failure::usage(format!("read {}: it is not UTF-8 text", path.display())))
}

/// Writes a file: temporary name, fsync, rename, fsync of the folder.
pub fn write(path: &Path, content: &[u8], access: Access) -> Result<(), Failure> {
    let mode = match access {
        Access::Owner => 0o600,
        Access::Everyone => 0o644,
    };
    let told = |error: std::io::Error| unwritten(path, &error);
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        folder(parent, access)?;
    }
    // Not preserving an old mode: a file that was open to all would stay so.
    let mut file = OpenOptions::new()
        .preserve_mode(false)
        .mode(mode)
        .open(path)
        .map_err(told)?;
    file.write_all(content).map_err(told)?;
    file.commit().map_err(told)
}

/// Writes a file that must not be there yet, unless `force` says so.
pub fn write_new(path: &Path, content: &[u8], access: Access, force: bool) -> Result<(), Failure> {
    absent(path, force)?;
    write(path, content, access)
}

/// A file that is being written. Without [`NewFile::keep`] there is none.
pub struct NewFile {
    path: std::path::PathBuf,
    file: atomic_write_file::AtomicWriteFile,
}

impl NewFile {
    /// Its owner's only; must not be there yet, unless `force` says so.
    pub fn open(path: &Path, force: bool) -> Result<Self, Failure> {
        absent(path, force)?;
        let mut options = OpenOptions::new();
        let file = options.preserve_mode(false).mode(0o600).open(path);
        let path = path.to_owned();
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(unwritten(&path, &error)),
        }
    }

    /// Adds to it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| unwritten(&self.path, &error))
    }

    /// Makes it a file: fsync, rename, fsync of the folder.
    pub fn keep(self) -> Result<(), Failure> {
        let kept = self.file.commit();
        kept.map_err(|error| unwritten(&self.path, &error))
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("write {}: {}", path.display(), plain(error)))
}

fn absent(path: &Path, force: bool) -> Result<(), Failure> {
    match !force && path.symlink_metadata().is_ok() {
        true => Err(Failure::usage(format!("{} exists already", path.display()))
            .next("choose another name, or say --force to replace it")),
        false => Ok(()),
    }
}

/// The longest that somebody else's change of a small file takes.
const LOCKED: Duration = Duration::from_secs(10);

/// Takes a lock that ends with the file returned, or with this process.
pub fn lock(path: &Path) -> Result<File, Failure> {
    let told = |why: String| Failure::failed(format!("lock {}: {why}", path.display()));
    if let Some(above) = path.parent() {
        folder(above, Access::Owner)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(path).map_err(|error| told(plain(&error)))?;
    let began = Instant::now();
    // The kernel's own wait for a lock has no deadline.
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCKED => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                let seconds = LOCKED.as_secs();
                return Err(told(format!("another machinectl holds it for {seconds} s")));
            }
            Err(TryLockError::Error(error)) => return Err(told(plain(&error))),
        }
    }
}

/// Makes a folder and its parents. New ones are the owner's only where `access` says so.
pub fn folder(path: &Path, access: Access) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let mode = match access {
        Access::Owner => 0o700,
        Access::Everyone => 0o755,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| {
            Failure::failed(format!("make folder {}: {}", path.display(), plain(&error)))
        })
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(
            format!("write to standard output: {}", plain(&error)),
        )),
        _ => Ok(()),
    }
}

/// Tells people something, on standard error. Nobody reading, or no room there, ends no work.
pub fn tell(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// [`files::tell`](crate::files::tell) with a format.
#[macro_export]
macro_rules! tell {
    ($($text:tt)*) => { $crate::files::tell(format_args!($($text)*)) };
}

/// An I/O error without its number.
pub fn plain(error: &std::io::Error) -> String {
    use std::io::ErrorKind as E;
    match error.kind() {
        E::NotFound => "no such file or folder".into(),
        E::PermissionDenied => "permission denied".into(),
        E::IsADirectory => "it is a folder".into(),
        E::StorageFull => "the disk is full".into(),
        _ => {
            let text = error.to_string();
            text.split(" (os error")
                .next()
                .unwrap_or_default()
                .to_lowercase()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("file is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_the_owners_even_where_an_open_file_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/secrets.yaml");
        write(&path, b"a", Access::Owner).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        write(&path, b"b", Access::Owner).unwrap();
        assert_eq!(
            (mode(&path), std::fs::read(&path).unwrap()),
            (0o600, b"b".to_vec())
        );
    }

    #[test]
    fn an_existing_file_is_kept_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.yaml");
        write_new(&path, b"first", Access::Owner, false).unwrap();
        let failure = write_new(&path, b"second", Access::Owner, false).unwrap_err();
        assert!(failure.message.contains("exists already"), "{failure}");
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        write_new(&path, b"second", Access::Owner, true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = read(Path::new("/nowhere/at/all.yaml")).unwrap_err();
        assert_eq!(
            failure.message,
            "read /nowhere/at/all.yaml: no such file or folder"
        );
    }
}
