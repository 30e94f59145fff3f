//! What durable's functions do to the disk, one by one, while a test records it. It may end them after
//! so many steps: then nothing reaches the disk any more, as after the end of the process.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

/// One step. Modes go along with what is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Make(PathBuf, u32),
    Create(PathBuf, u32),
    Write(PathBuf, Vec<u8>),
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// Of a file or a folder.
    Sync(PathBuf),
}

struct Recorder {
    taken: Vec<Step>,
    allowed: usize,
}

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// Records this thread's steps, and ends them after so many.
pub(crate) fn record(allowed: usize) {
    let taken = Vec::new();
    RECORDER.set(Some(Recorder { taken, allowed }));
}

/// What was recorded.
pub(crate) fn recorded() -> Vec<Step> {
    RECORDER.take().unwrap().taken
}

/// Asked before a step.
pub(super) fn take(step: Step) -> io::Result<()> {
    RECORDER.with_borrow_mut(|recorder| match recorder {
        None => Ok(()),
        Some(recorder) if recorder.taken.len() < recorder.allowed => {
            recorder.taken.push(step);
            Ok(())
        }
        Some(_) => Err(io::Error::other("the process has ended")),
    })
}

/// What somebody else does who syncs nothing: a file, in a folder of its own.
pub(crate) fn carelessly(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap();
    if !folder.exists() {
        careless_folder(folder)?;
    }
    take(Step::Create(path.to_owned(), 0o644))?;
    std::fs::File::create(path)?;
    take(Step::Write(path.to_owned(), bytes.to_owned()))?;
    io::Write::write_all(&mut std::fs::File::create(path)?, bytes)
}

fn careless_folder(folder: &Path) -> io::Result<()> {
    let above = folder.parent().unwrap();
    if !above.exists() {
        careless_folder(above)?;
    }
    take(Step::Make(folder.to_owned(), 0o755))?;
    std::fs::create_dir(folder)
}
