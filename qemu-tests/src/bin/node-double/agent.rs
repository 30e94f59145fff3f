//! machined.service: the agent under test, started again whenever it ends.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use rustix::process::Pid;
use tokio::process::Command;

use crate::units::{AGENT, Units};

/// The unit's RestartSec.
const AGAIN: Duration = Duration::from_secs(1);

const AGENT_PROGRAM: &str = "/opt/machined";
const LOG: &str = "/var/log/machined.log";
const CREDENTIALS: &str = "/run/credentials";

pub(crate) async fn supervise(units: Units) -> anyhow::Result<()> {
    // A machine of somebody else's has none.
    if !Path::new(AGENT_PROGRAM).exists() {
        return std::future::pending().await;
    }
    loop {
        let log = File::options().create(true).append(true).open(LOG)?;
        let run = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        let mut command = Command::new(AGENT_PROGRAM);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin")
            .env("INVOCATION_ID", run.trim().replace('-', ""))
            .env("DBUS_SYSTEM_BUS_ADDRESS", crate::bus::ADDRESS)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if Path::new(CREDENTIALS).join("machined.enrolment").exists() {
            command.env("CREDENTIALS_DIRECTORY", CREDENTIALS);
        }
        let mut child = command.spawn().context("start the agent")?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        units.change(AGENT, |unit| unit.pid = pid);
        units.runs(AGENT);
        let ended = child.wait().await?;
        units.change(AGENT, |unit| {
            (unit.active, unit.sub, unit.pid) = ("activating", "auto-restart", None);
            unit.restarts += 1;
        });
        if units.goes_down() {
            return Ok(());
        }
        println!("node: the agent ended: {ended}");
        tokio::time::sleep(AGAIN).await;
    }
}
