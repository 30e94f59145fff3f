//! The network between nodes: a namespace with a bridge in it, where also the operator sits, and
//! which no route leaves.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What our namespaces are called, and the bridge's own.
const PREFIX: &str = "machined-";
const LAN: &str = "machined-lan";

/// Where the operator is, and where the cluster's endpoint.
const SEAT: &str = "192.0.2.1/24";
/// The address of the cluster's load balancer.
pub const ENDPOINT: &str = "192.0.2.10";

/// One at a time on a host: names and addresses are always the same.
pub struct Net {
    _alone: File,
}

impl Net {
    /// Waits for the one before, takes away what one left behind that was killed, and makes it anew.
    pub fn new() -> anyhow::Result<Self> {
        let lock = std::env::temp_dir().join("machined-namespaces.lock");
        let alone = File::create(&lock).with_context(|| format!("open {}", lock.display()))?;
        alone.lock()?;
        sweep()?;
        let net = Self { _alone: alone };
        ip(&["netns", "add", LAN])?;
        for words in [
            "link set lo up",
            "link add br0 type bridge",
            "link set br0 up",
            &format!("address add {SEAT} dev br0"),
            &format!("address add {ENDPOINT}/24 dev br0"),
        ] {
            let words: Vec<_> = words.split(' ').collect();
            ip(&[&["-n", LAN], &words[..]].concat())?;
        }
        Ok(net)
    }

    /// How to run something where the operator is: words to put before a command.
    pub fn seat() -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/run/netns/{LAN}")]
    }

    /// Puts the calling thread where the operator is, for as long as the thread lives.
    pub fn sit() -> anyhow::Result<()> {
        enter(&format!("/run/netns/{LAN}"))
    }

    /// Gives a node its network. Its card has always the same hardware address, as a real one's.
    pub(super) fn plug(&self, node: &str, address: &str) -> anyhow::Result<()> {
        let (space, cable) = (format!("{PREFIX}{node}"), node);
        let last = address.rsplit('.').next().unwrap_or_default();
        let mac = format!("52:54:00:6e:73:{:02x}", last.parse::<u8>()?);
        let address = format!("{address}/24");
        ip(&["netns", "add", &space])?;
        let pair = ["-n", LAN, "link", "add", cable, "type", "veth", "peer"];
        let peer = ["name", "en0", "address", &mac, "netns", &space];
        ip(&[&pair[..], &peer].concat())?;
        ip(&["-n", LAN, "link", "set", cable, "master", "br0", "up"])?;
        ip(&["-n", &space, "address", "add", &address, "dev", "en0"])?;
        ip(&["-n", &space, "link", "set", "lo", "up"])?;
        ip(&["-n", &space, "link", "set", "en0", "up"])
    }

    /// Takes it away again; of a node that has none it is away.
    pub(super) fn unplug(&self, node: &str) {
        let _ = ip(&["-n", LAN, "link", "delete", node]);
        let _ = ip(&["netns", "delete", &format!("{PREFIX}{node}")]);
    }

    /// Cuts a node's cable, or joins it.
    pub(super) fn cable(&self, node: &str, whole: bool) -> anyhow::Result<()> {
        let state = if whole { "up" } else { "down" };
        ip(&["-n", LAN, "link", "set", node, state])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Err(error) = sweep() {
            eprintln!("cannot take the network away: {error:#}");
        }
    }
}

/// Puts the calling thread into a network.
pub(super) fn enter(space: &str) -> anyhow::Result<()> {
    let file = File::open(space).with_context(|| format!("open {space}"))?;
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(file.as_fd(), kind).with_context(|| format!("enter {space}"))
}

/// Where a node's processes are put.
pub(super) fn space(node: &str) -> String {
    format!("/run/netns/{PREFIX}{node}")
}

// What is in a namespace of ours is ours.
fn sweep() -> anyhow::Result<()> {
    let listed = ip_says(&["netns", "list"])?;
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| name.starts_with(PREFIX)) {
        for pid in ip_says(&["netns", "pids", name])?.lines() {
            let kill = Command::new("kill").args(["-9", pid]).status();
            kill.context("run kill")?;
        }
        ip(&["netns", "delete", name])?;
    }
    Ok(())
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    ip_says(words).map(drop)
}

fn ip_says(words: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("ip");
    let ran = command.args(words).stdin(Stdio::null()).output();
    let ran = ran.context("run ip")?;
    let why = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "ip {}: {why}", words.join(" "));
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}
