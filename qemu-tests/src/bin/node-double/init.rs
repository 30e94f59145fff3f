//! The node's first process: with it goes everything else. It only buries what others leave behind.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use rustix::process::{WaitOptions, wait};

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let child = Command::new("/proc/self/exe")
        .arg("system")
        .spawn()
        .context("start the node's system")?;
    let system = i32::try_from(child.id())?;
    loop {
        let Some((pid, status)) = wait(WaitOptions::empty())? else {
            bail!("nobody to wait for");
        };
        if pid.as_raw_nonzero().get() == system {
            let code = status.exit_status().unwrap_or(1);
            return Ok(ExitCode::from(u8::try_from(code)?));
        }
    }
}
