//! A node: its disk, its power and its console.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::net::{Net, space};
use super::programs::Programs;
use crate::deadline::Deadline;
use crate::put;
use crate::serial::Serial;

/// Becomes the node's first process.
const ROOT: &str = include_str!("root.sh");

/// How a node went down by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It turned itself off.
    Off,
    /// It wants to start again.
    Reboot,
}

/// A machine. Dropped, it is off.
pub struct Node {
    /// Its name, also as the cluster's.
    pub name: String,
    /// Its address.
    pub address: String,
    folder: PathBuf,
    power: Option<Power>,
}

struct Power {
    child: Child,
    first: u32,
    orders: ChildStdin,
    serial: Serial,
}

impl Node {
    /// One that is off, with an empty disk in a story's folder.
    pub fn new(above: &Path, name: &str, address: &str, enrolment: &[u8]) -> anyhow::Result<Self> {
        let folder = above.join(name);
        std::fs::create_dir_all(folder.join("credentials"))?;
        let bundle = folder.join("credentials/machined.enrolment");
        put(&bundle, std::str::from_utf8(enrolment)?)?;
        Ok(Self {
            name: name.to_owned(),
            address: address.to_owned(),
            folder,
            power: None,
        })
    }

    /// Turns it on.
    pub fn power_on(&mut self, net: &Net, programs: &Programs) -> anyhow::Result<()> {
        ensure!(self.power.is_none(), "{} is on", self.name);
        eprintln!("{} is turned on", self.name);
        net.unplug(&self.name);
        net.plug(&self.name, &self.address)?;
        // A node never outlives who turned it on, however that one ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "nsenter"])
            .arg(format!("--net={}", space(&self.name)))
            .args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork"])
            .args(["--kill-child", "sh", "-c", ROOT])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("NODE", &self.folder)
            .env("DOUBLE", &programs.double)
            .env("MACHINED", &programs.machined)
            .env("KUBERNETES", &programs.kubernetes)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let log = self.folder.join("console.log");
        let errors = self.folder.join("root.log");
        let errors = File::options().create(true).append(true).open(errors)?;
        let mut child = command.stderr(errors).spawn().context("start a node")?;
        let orders = child.stdin.take().context("no way to give orders")?;
        let out = child.stdout.take().context("no console")?;
        let serial = Serial::follow(out, &log)?;
        let deadline = Deadline::new(20, format!("the first process of {}", self.name));
        let first = loop {
            // Until it has a root of its own, its paths are the host's.
            if let Some(first) = only_child(child.id())
                && has_own_root(first)
            {
                break first;
            }
            deadline.left()?;
            std::thread::sleep(Duration::from_millis(5));
        };
        self.power = Some(Power {
            child,
            first,
            orders,
            serial,
        });
        Ok(())
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.power.is_some()
    }

    /// Takes the power away, at once. What is on its disk stays.
    pub fn cut_power(&mut self, net: &Net) {
        if let Some(power) = self.power.take() {
            eprintln!("the power of {} is cut", self.name);
            drop(power);
        }
        net.unplug(&self.name);
    }

    /// Empties its disk, which needs its power off.
    pub fn wipe_disk(&mut self) -> anyhow::Result<()> {
        ensure!(self.power.is_none(), "{} is on", self.name);
        eprintln!("the disk of {} is wiped", self.name);
        Ok(std::fs::remove_dir_all(self.folder.join("disk"))?)
    }

    /// Kills the agent at once, or a static pod's process; whoever looks after it starts it again.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        eprintln!("{name} of {} is killed", self.name);
        self.order(&format!("kill {name}"))
    }

    /// Stops a static pod's process where it is, so that it takes connections and never answers.
    pub fn freeze(&mut self, name: &str) -> anyhow::Result<()> {
        eprintln!("{name} of {} is frozen", self.name);
        self.order(&format!("freeze {name}"))
    }

    /// Has it go on.
    pub fn thaw(&mut self, name: &str) -> anyhow::Result<()> {
        self.order(&format!("thaw {name}"))
    }

    /// Starts a program that is none of the node's own; it ends with the node, told as all others are.
    pub fn run_beside(&mut self, words: &str) -> anyhow::Result<()> {
        self.order(&format!("run {words}"))
    }

    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        let power = self.power.as_mut().context("it is off")?;
        Ok(writeln!(power.orders, "{order}")?)
    }

    /// Waits for a line on the console since it was turned on.
    pub fn console(&self, text: &str, seconds: u64) -> anyhow::Result<String> {
        let power = self.power.as_ref().context("it is off")?;
        let what = format!("{text:?} on the console of {}", self.name);
        power.serial.wait(text, &Deadline::new(seconds, what))
    }

    /// Waits until it has gone down by itself.
    pub fn ended(&mut self, net: &Net, seconds: u64) -> anyhow::Result<Ended> {
        let power = self.power.as_mut().context("it is off")?;
        let deadline = Deadline::new(seconds, format!("{} to go down", self.name));
        let status = loop {
            if let Some(status) = power.child.try_wait()? {
                break status;
            }
            deadline.left()?;
            std::thread::sleep(Duration::from_millis(50));
        };
        self.power = None;
        net.unplug(&self.name);
        match status.code() {
            Some(10) => Ok(Ended::Off),
            Some(11) => Ok(Ended::Reboot),
            _ => bail!("{} ended with {status}: see its console.log", self.name),
        }
    }

    /// A file of its own, as the host sees it.
    pub fn path(&self, path: &str) -> anyhow::Result<PathBuf> {
        let power = self.power.as_ref().context("it is off")?;
        // Its root is in memory, and only seen from inside: by way of one that is there.
        Ok(PathBuf::from(format!("/proc/{}/root{path}", power.first)))
    }

    /// Puts the calling thread into its network, for as long as the thread lives.
    pub fn enter(&self) -> anyhow::Result<()> {
        super::net::enter(&space(&self.name))
    }

    /// How to run something on it, with its own root and processes: words to put before a command.
    pub fn on(&self) -> anyhow::Result<Vec<String>> {
        let power = self.power.as_ref().context("it is off")?;
        let words = format!(
            "nsenter --target={} --mount --net --pid --uts --ipc --root --wd",
            power.first
        );
        Ok(words.split(' ').map(str::to_owned).collect())
    }

    /// How to run something in its network: words to put before a command.
    pub fn inside(&self) -> [String; 2] {
        let space = space(&self.name);
        ["nsenter".to_owned(), format!("--net={space}")]
    }
}

impl Drop for Power {
    // With the first process the kernel ends all others of its namespace, and waits for them.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let first = self.first.to_string();
            let _ = Command::new("kill").args(["-9", &first]).status();
        }
        let _ = self.child.wait();
    }
}

fn has_own_root(pid: u32) -> bool {
    let root = |of: &str| std::fs::metadata(of).map(|root| (root.dev(), root.ino()));
    // One that has ended is looked for again.
    let (its, ours) = (root(&format!("/proc/{pid}/root/")), root("/"));
    its.is_ok_and(|its| ours.is_ok_and(|ours| its != ours))
}

fn only_child(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
