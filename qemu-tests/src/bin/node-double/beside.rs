//! Programs on the node that no unit of the image is: what somebody else would have installed there.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

const LOG: &str = "/var/log/beside.log";

/// Those that were started.
#[derive(Clone, Default)]
pub(crate) struct Beside(Arc<Mutex<Vec<Child>>>);

impl Beside {
    pub(crate) fn run(&self, words: &str) {
        match spawn(words) {
            Ok(child) => self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(child),
            Err(error) => println!("node: {words}: {error:#}"),
        }
    }

    /// Tells them all to end, and waits for none.
    pub(crate) fn stop_all(&self) {
        for child in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
                // One that has ended is as it should be.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }
}

fn spawn(words: &str) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(LOG)?;
    let mut words = words.split(' ');
    Command::new(words.next().context("no program")?)
        .args(words)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start it")
}
