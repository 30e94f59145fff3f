//! Nodes of one cluster, with a load balancer before them.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::net::{ENDPOINT, Net};
use super::node::{Ended, Node};
use super::programs::{Balancer, Programs};
use crate::command::{enrolment, gen_config, run_quietly};
use crate::deadline::Deadline;
use crate::put;
use crate::vm::Workshop;

/// The address that control planes hold by turns, where they do.
pub const VIRTUAL_IP: &str = "192.0.2.100";

/// Machines of one cluster. The network goes last.
pub struct Cluster {
    nodes: Vec<Node>,
    balancer: Option<Balancer>,
    pub(super) documents: PathBuf,
    programs: Programs,
    shop: Workshop,
    net: Net,
}

impl Cluster {
    /// Machines that are off, and documents for each. A load balancer leads to them.
    pub fn new(story: &str, double: &str, names: &[&str]) -> anyhow::Result<Self> {
        Self::with(story, double, names, &[])
    }

    /// The same, with this said to `gen config` too.
    pub fn with(story: &str, double: &str, names: &[&str], more: &[&str]) -> anyhow::Result<Self> {
        let endpoint = format!("{ENDPOINT}:6443");
        let said = placed(names, 0);
        let words = ["--endpoint", &endpoint, "--control-planes", &said];
        let words = [&words[..], more].concat();
        let mut cluster = Self::described(story, double, names, &words)?;
        let to: Vec<_> = cluster.nodes.iter().map(|n| n.address.as_str()).collect();
        cluster.balancer = Some(Balancer::start(&cluster.programs, &to)?);
        Ok(cluster)
    }

    /// Control planes, and machines of role `etcd` for their data. The load balancer leads to the former.
    pub fn apart(
        story: &str,
        double: &str,
        etcd: &[&str],
        control_planes: &[&str],
    ) -> anyhow::Result<Self> {
        let endpoint = format!("{ENDPOINT}:6443");
        let (at, said) = (placed(etcd, 0), placed(control_planes, etcd.len()));
        let words = ["--endpoint", &endpoint, "--etcd-nodes", &at];
        let words = [&["--control-planes", &said], &words[..]].concat();
        let names = [etcd, control_planes].concat();
        let mut cluster = Self::described(story, double, &names, &words)?;
        let nodes = cluster.nodes.iter().skip(etcd.len());
        let to: Vec<_> = nodes.map(|n| n.address.as_str()).collect();
        cluster.balancer = Some(Balancer::start(&cluster.programs, &to)?);
        Ok(cluster)
    }

    /// The same, with an address that they hold by turns.
    pub fn sharing(story: &str, double: &str, names: &[&str]) -> anyhow::Result<Self> {
        let said = placed(names, 0);
        let words = ["--virtual-ip", VIRTUAL_IP, "--control-planes", &said];
        Self::described(story, double, names, &words)
    }

    fn described(
        story: &str,
        double: &str,
        names: &[&str],
        words: &[&str],
    ) -> anyhow::Result<Self> {
        let (programs, shop, net) = (
            Programs::from_env(double)?,
            Workshop::new(story)?,
            Net::new()?,
        );
        let home = shop.path();
        let args = ["--name", "demo", "--node-subnets", "192.0.2.0/24"];
        let documents = gen_config(home, "demo", &[&args, words].concat())?;
        let mut nodes = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let bundle = enrolment(home, &documents, name)?;
            nodes.push(Node::new(home, name, &address(index), &bundle)?);
        }
        Ok(Self {
            nodes,
            balancer: None,
            documents,
            programs,
            shop,
            net,
        })
    }

    /// Machines that have come together: the first began the cluster.
    pub fn together(story: &str, double: &str, names: &[&str]) -> anyhow::Result<Self> {
        let mut cluster = Self::new(story, double, names)?;
        cluster.power_on(names)?;
        cluster.enrol(names)?;
        cluster.bootstrap(names[0], 180)?;
        cluster.until_together(names, 180)?;
        Ok(cluster)
    }

    /// Has the documents let everybody reach a port of the machines, from before they are handed over.
    pub fn admit(&self, what: &str, port: u16) -> anyhow::Result<()> {
        for node in &self.nodes {
            let path = self.documents.join(format!("{}.yaml", node.name));
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("read {}", path.display()))?;
            let entry = format!(
                "  network: {{firewall: {{ingress: [{{name: {what}, ports: [{port}]}}]}}}}\n"
            );
            let amended = text.replacen("\nmachine:\n", &format!("\nmachine:\n{entry}"), 1);
            ensure!(amended != text, "{} has changed its shape", path.display());
            put(&path, &amended)?;
        }
        Ok(())
    }

    /// A machine.
    pub fn node(&mut self, name: &str) -> anyhow::Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.name == name);
        node.with_context(|| format!("no machine {name}"))
    }

    /// The same, to look at.
    pub(super) fn named(&self, name: &str) -> anyhow::Result<&Node> {
        let node = self.nodes.iter().find(|node| node.name == name);
        node.with_context(|| format!("no machine {name}"))
    }

    /// A machine and what it hangs on.
    fn wired(&mut self, name: &str) -> anyhow::Result<(&mut Node, &Net, &Programs)> {
        let node = self.nodes.iter_mut().find(|node| node.name == name);
        let node = node.with_context(|| format!("no machine {name}"))?;
        Ok((node, &self.net, &self.programs))
    }

    /// Turns machines on.
    pub fn power_on(&mut self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            let (node, net, programs) = self.wired(name)?;
            node.power_on(net, programs)?;
        }
        Ok(())
    }

    /// Takes a machine's power away.
    pub fn cut_power(&mut self, name: &str) -> anyhow::Result<()> {
        let (node, net, _) = self.wired(name)?;
        node.cut_power(net);
        Ok(())
    }

    /// Waits for a machine that reboots by itself, and has it come back.
    pub fn rebooted(&mut self, name: &str, seconds: u64) -> anyhow::Result<()> {
        let (node, net, programs) = self.wired(name)?;
        let ended = node.ended(net, seconds)?;
        ensure!(ended == Ended::Reboot, "{name} is {ended:?}");
        node.power_on(net, programs)
    }

    /// Cuts a machine's cable, or joins it.
    pub fn cable(&mut self, name: &str, whole: bool) -> anyhow::Result<()> {
        let what = if whole { "whole" } else { "cut" };
        eprintln!("the cable of {name} is {what}");
        self.net.cable(name, whole)
    }

    /// Who holds the virtual IP.
    pub fn holders(&self) -> anyhow::Result<Vec<String>> {
        self.holders_of(VIRTUAL_IP)
    }

    /// Who has an address.
    pub fn holders_of(&self, address: &str) -> anyhow::Result<Vec<String>> {
        let mut holders = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_on()) {
            let [nsenter, space] = node.inside();
            let words = [&space, "ip", "-o", "address", "show"];
            let deadline = Deadline::new(20, format!("the addresses of {}", node.name));
            let shown = run_quietly(Path::new(&nsenter), &words, &[], &deadline)?;
            if shown.stdout.contains(&format!(" {address}/")) {
                holders.push(node.name.clone());
            }
        }
        Ok(holders)
    }

    /// The story's folder.
    pub fn home(&self) -> &Path {
        self.shop.path()
    }

    /// The story held: its folder goes, and with it all else.
    pub fn done(self) {
        let Self {
            mut nodes,
            balancer,
            shop,
            net,
            ..
        } = self;
        for node in &mut nodes {
            node.cut_power(&net);
        }
        drop(balancer);
        shop.done();
    }
}

/// As `gen config` is told of them; so many are before them.
fn placed(names: &[&str], before: usize) -> String {
    let at = names.iter().zip(before..);
    let at: Vec<_> = at
        .map(|(name, i)| format!("{name}={}", address(i)))
        .collect();
    at.join(",")
}

fn address(index: usize) -> String {
    format!("192.0.2.{}", 11 + index)
}
