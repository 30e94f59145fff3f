//! What runs on a node, and what is before them all.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use super::net::{ENDPOINT, Net};

/// What runs on a node.
#[derive(Debug, Clone)]
pub struct Programs {
    /// What is around the agent.
    pub double: PathBuf,
    /// The agent.
    pub machined: PathBuf,
    /// The folder of the control plane's programs.
    pub kubernetes: PathBuf,
}

impl Programs {
    /// The same without an agent: what is on a machine of somebody else's.
    pub(super) fn without_agent(self) -> Self {
        let machined = PathBuf::new();
        Self { machined, ..self }
    }

    /// From the variables that the recipe sets.
    pub fn from_env(double: &str) -> anyhow::Result<Self> {
        let path = |variable: &str| {
            let path = std::env::var_os(variable).map(PathBuf::from);
            let path = path.filter(|path| path.exists());
            path.with_context(|| format!("{variable} must name what to try: run the recipe"))
        };
        Ok(Self {
            double: double.into(),
            machined: path("MACHINED")?,
            kubernetes: path("KUBERNETES_BINARIES")?,
        })
    }
}

/// What the cluster's endpoint leads to.
pub(super) struct Balancer(Child);

impl Balancer {
    pub(super) fn start(programs: &Programs, to: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(Net::seat())
            .arg(&programs.double)
            .args(["balance", ENDPOINT, "6443,50000", &to.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(Self(command.spawn().context("start the load balancer")?))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
