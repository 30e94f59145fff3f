//! Nodes with a load balancer before them, and the operator's hands.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::net::{ENDPOINT, Net};
use super::node::Node;
use crate::command::{Ran, enrolment, gen_config, run, run_quietly};
use crate::deadline::Deadline;
use crate::vm::Workshop;

/// Between looks at what is waited for.
const AGAIN: Duration = Duration::from_millis(250);

/// The address that control planes hold by turns, where they do.
pub const VIRTUAL_IP: &str = "192.0.2.100";

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

/// A member of etcd, as `machinectl etcd members` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name; empty before its first start.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Whether it has no vote yet.
    pub learner: bool,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it answers.
    pub answers: bool,
}

/// Machines of one cluster. The network goes last.
pub struct Cluster {
    nodes: Vec<Node>,
    balancer: Option<Balancer>,
    folder: PathBuf,
    programs: Programs,
    shop: Workshop,
    net: Net,
}

impl Cluster {
    /// Machines that are off, and documents for each. A load balancer leads to them.
    pub fn new(story: &str, double: &str, names: &[&str]) -> anyhow::Result<Self> {
        let endpoint = format!("{ENDPOINT}:6443");
        let mut cluster = Self::described(story, double, names, &["--endpoint", &endpoint])?;
        let to: Vec<_> = cluster.nodes.iter().map(|n| n.address.as_str()).collect();
        cluster.balancer = Some(Balancer::start(&cluster.programs, &to)?);
        Ok(cluster)
    }

    /// The same, with an address that they hold by turns.
    pub fn sharing(story: &str, double: &str, names: &[&str]) -> anyhow::Result<Self> {
        Self::described(story, double, names, &["--virtual-ip", VIRTUAL_IP])
    }

    fn described(
        story: &str,
        double: &str,
        names: &[&str],
        endpoint: &[&str],
    ) -> anyhow::Result<Self> {
        let (programs, shop, net) = (
            Programs::from_env(double)?,
            Workshop::new(story)?,
            Net::new()?,
        );
        let home = shop.path();
        let names_said = names.join(",");
        let args = [
            "--name",
            "demo",
            "--control-planes",
            &names_said,
            "--node-subnets",
            "192.0.2.0/24",
        ];
        let folder = gen_config(home, "demo", &[&args, endpoint].concat())?;
        let mut nodes = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let bundle = enrolment(home, &folder, name)?;
            let address = format!("192.0.2.{}", 11 + index);
            nodes.push(Node::new(home, name, &address, &bundle)?);
        }
        Ok(Self {
            nodes,
            balancer: None,
            folder,
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

    /// A machine.
    pub fn node(&mut self, name: &str) -> anyhow::Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.name == name);
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
        ensure!(ended == super::Ended::Reboot, "{name} is {ended:?}");
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
        let mut holders = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_on()) {
            let [nsenter, space] = node.inside();
            let words = [&space, "ip", "-o", "address", "show"];
            let deadline = Deadline::new(20, format!("the addresses of {}", node.name));
            let shown = run_quietly(Path::new(&nsenter), &words, &[], &deadline)?;
            if shown.stdout.contains(&format!(" {VIRTUAL_IP}/")) {
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

    /// As `-n` wants it.
    pub fn at(&self, name: &str) -> anyhow::Result<String> {
        let node = self.nodes.iter().find(|node| node.name == name);
        let node = node.with_context(|| format!("no machine {name}"))?;
        Ok(format!("{name}={}", node.address))
    }

    /// Runs machinectl where the operator is.
    pub fn machinectl(&self, args: &[&str], seconds: u64) -> anyhow::Result<String> {
        succeeded(self.machinectl_ends(args, seconds)?, "machinectl", args)
    }

    /// The same, however it ends.
    pub fn machinectl_ends(&self, args: &[&str], seconds: u64) -> anyhow::Result<Ran> {
        let program = machinectl()?;
        let [nsenter, seat] = Net::seat();
        let words = [&[seat.as_str(), &program], args].concat();
        let contexts = self.home().join("contexts.yaml");
        let env = [("MACHINECTL_CONFIG", contexts.as_path())];
        run(Path::new(&nsenter), &words, &env, seconds)
    }

    /// The same, for what is asked again and again.
    pub fn ask(&self, args: &[&str], deadline: &Deadline) -> anyhow::Result<Ran> {
        let program = machinectl()?;
        let [nsenter, seat] = Net::seat();
        let words = [&[seat.as_str(), &program], args].concat();
        let contexts = self.home().join("contexts.yaml");
        let env = [("MACHINECTL_CONFIG", contexts.as_path())];
        run_quietly(Path::new(&nsenter), &words, &env, deadline)
    }

    /// Runs stock kubectl where the operator is, as administrator at the cluster's endpoint.
    pub fn kubectl(&self, args: &[&str], deadline: &Deadline) -> anyhow::Result<Ran> {
        let [nsenter, seat] = Net::seat();
        let patience = "--request-timeout=10s";
        let words = [&[seat.as_str(), "kubectl", patience], args].concat();
        let kubeconfig = self.home().join("kubeconfig");
        let env = [("KUBECONFIG", kubeconfig.as_path())];
        run_quietly(Path::new(&nsenter), &words, &env, deadline)
    }

    /// Hands machines their configs, all at once.
    pub fn enrol(&self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            let node = self.nodes.iter().find(|node| node.name == *name);
            let node = node.with_context(|| format!("no machine {name}"))?;
            node.console("machined: maintenance", 60)?;
        }
        let at: Vec<_> = names
            .iter()
            .map(|name| self.at(name))
            .collect::<Result<_, _>>()?;
        let files = names.iter().map(|name| {
            let path = self.folder.join(format!("{name}.yaml"));
            path.display().to_string()
        });
        let files: Vec<_> = files.collect();
        let at = at.join(",");
        let mut words = vec!["apply-config", "-n", at.as_str()];
        for file in &files {
            words.extend(["-f", file]);
        }
        self.machinectl(&words, 60).map(drop)
    }

    /// Begins the cluster on a machine, waits for that, and gets the kubeconfig.
    pub fn bootstrap(&self, name: &str, seconds: u64) -> anyhow::Result<()> {
        let at = self.at(name)?;
        self.machinectl(
            &["bootstrap", "-n", &at, "--wait", "--timeout", "10h"],
            seconds,
        )?;
        self.take_kubeconfig(name)
    }

    /// Gets the administrator's kubeconfig from a machine.
    pub fn take_kubeconfig(&self, name: &str) -> anyhow::Result<()> {
        let path = self.home().join("kubeconfig").display().to_string();
        let at = self.at(name)?;
        self.machinectl(&["kubeconfig", "-n", &at, "-o", &path], 60)
            .map(drop)
    }

    /// etcd's members as one of these machines knows them.
    pub fn members(&self, at: &[&str], deadline: &Deadline) -> anyhow::Result<Vec<Member>> {
        let at: Vec<_> = at
            .iter()
            .map(|name| self.at(name))
            .collect::<Result<_, _>>()?;
        let at = at.join(",");
        let ran = self.ask(&["etcd", "members", "-n", &at, "-o", "json"], deadline)?;
        let text = succeeded(ran, "machinectl", &["etcd", "members"])?;
        let value: Value = serde_json::from_str(&text)?;
        let members = value["members"].as_array().context("no members")?;
        let text = |member: &Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
        let member = |member: &Value| Member {
            name: text(member, "name"),
            id: text(member, "id"),
            learner: member["learner"] == Value::Bool(true),
            leader: member["leader"] == Value::Bool(true),
            answers: text(member, "silent").is_empty(),
        };
        Ok(members.iter().map(member).collect())
    }

    /// Names of nodes that are Ready, in order.
    pub fn ready(&self, deadline: &Deadline) -> anyhow::Result<Vec<String>> {
        let columns = "jsonpath={range .items[*]}{.metadata.name} \
            {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
        let args = ["get", "nodes", "-o", columns];
        let table = succeeded(self.kubectl(&args, deadline)?, "kubectl", &args)?;
        let names = table.lines().filter_map(|line| line.strip_suffix(" True"));
        Ok(names.map(str::to_owned).collect())
    }

    /// Waits until all of these have a vote and are Ready nodes, and nobody else has a place in etcd.
    pub fn until_together(&mut self, names: &[&str], seconds: u64) -> anyhow::Result<()> {
        let what = format!("{} to be voters and Ready", names.join(", "));
        let mut names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        self.until(seconds, &what, |this, deadline| {
            let all: Vec<_> = names.iter().map(String::as_str).collect();
            let members = this.members(&all, deadline)?;
            let voters = members.iter().filter(|m| !m.learner && m.answers);
            let mut voters: Vec<_> = voters.map(|m| m.name.clone()).collect();
            voters.sort();
            ensure!(
                members.len() == names.len() && voters == names,
                "etcd has {members:?}"
            );
            let ready = this.ready(deadline)?;
            let missing = names.iter().find(|name| !ready.contains(name));
            ensure!(missing.is_none(), "Ready are {ready:?}");
            Ok(())
        })
    }

    /// Asks again and again until it holds; in the end says why it did not.
    pub fn until(
        &mut self,
        seconds: u64,
        what: &str,
        mut holds: impl FnMut(&mut Self, &Deadline) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = Deadline::new(seconds, what);
        let mut told = String::new();
        loop {
            let Err(why) = holds(self, &deadline) else {
                return Ok(());
            };
            let text = format!("{why:#}");
            if text != told {
                eprintln!("not yet: {text}");
                told = text;
            }
            deadline.left().with_context(|| told.clone())?;
            std::thread::sleep(AGAIN);
        }
    }
}

/// What the cluster's endpoint leads to.
struct Balancer(Child);

impl Balancer {
    fn start(programs: &Programs, to: &[&str]) -> anyhow::Result<Self> {
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

fn machinectl() -> anyhow::Result<String> {
    let path = std::env::var("MACHINECTL");
    path.context("MACHINECTL must name the machinectl to try: run the recipe")
}

fn succeeded(ran: Ran, program: &str, args: &[&str]) -> anyhow::Result<String> {
    let (code, why) = (ran.code, ran.stderr);
    ensure!(code == 0, "{program} {}: {code}: {why}", args.join(" "));
    Ok(ran.stdout)
}
