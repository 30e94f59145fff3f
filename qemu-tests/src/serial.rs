//! A guest's serial console: kept in a file, and waited on line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::deadline::Deadline;

#[derive(Default)]
struct Shared {
    lines: Mutex<(Vec<String>, bool)>,
    news: Condvar,
}

/// The lines so far, and those to come.
#[derive(Clone, Default)]
pub(crate) struct Serial(Arc<Shared>);

impl Serial {
    pub(crate) fn follow(stream: impl Read + Send + 'static, log: &Path) -> std::io::Result<Self> {
        let serial = Self::default();
        let mut file = File::options().create(true).append(true).open(log)?;
        let shared = serial.0.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut raw = Vec::new();
            while reader.read_until(b'\n', &mut raw).is_ok_and(|n| n > 0) {
                let _ = file.write_all(&raw);
                let line = String::from_utf8_lossy(&raw).trim_end().to_owned();
                raw.clear();
                shared
                    .lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
                    .push(line);
                shared.news.notify_all();
            }
            shared
                .lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .1 = true;
            shared.news.notify_all();
        });
        Ok(serial)
    }

    /// How many lines there are by now.
    pub(crate) fn length(&self) -> usize {
        self.0
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .len()
    }

    /// The lines from one on.
    pub(crate) fn from(&self, first: usize) -> Vec<String> {
        self.0
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0[first..]
            .to_vec()
    }

    /// Waits for a line that contains `text` and returns it.
    pub(crate) fn wait(&self, text: &str, deadline: &Deadline) -> anyhow::Result<String> {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = 0;
        loop {
            if let Some(line) = lines.0[seen..].iter().find(|line| line.contains(text)) {
                return Ok(line.clone());
            }
            seen = lines.0.len();
            anyhow::ensure!(!lines.1, "the machine went away before it printed {text:?}");
            let left = deadline.left()?;
            lines = self
                .0
                .news
                .wait_timeout(lines, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
