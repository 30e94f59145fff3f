//! The operator's hands: what is asked of a cluster from where people are.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::cluster::Cluster;
use super::net::Net;
use crate::command::{Ran, run, run_quietly};
use crate::deadline::Deadline;

/// Between looks at what is waited for.
const AGAIN: Duration = Duration::from_millis(250);

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

impl Cluster {
    /// As `-n` wants it.
    pub fn at(&self, name: &str) -> anyhow::Result<String> {
        Ok(format!("{name}={}", self.named(name)?.address))
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
            self.named(name)?.console("machined: maintenance", 60)?;
        }
        let at: Vec<_> = names
            .iter()
            .map(|name| self.at(name))
            .collect::<Result<_, _>>()?;
        let files = names.iter().map(|name| {
            let path = self.documents.join(format!("{name}.yaml"));
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
        self.ready_by(&[], deadline)
    }

    fn ready_by(&self, server: &[&str], deadline: &Deadline) -> anyhow::Result<Vec<String>> {
        let columns = "jsonpath={range .items[*]}{.metadata.name} \
            {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
        let args = [&["get", "nodes", "-o", columns], server].concat();
        let table = succeeded(self.kubectl(&args, deadline)?, "kubectl", &args)?;
        let names = table.lines().filter_map(|line| line.strip_suffix(" True"));
        Ok(names.map(str::to_owned).collect())
    }

    /// Waits until all of these have a vote and are Ready nodes, and nobody else has a place in etcd.
    pub fn until_together(&mut self, names: &[&str], seconds: u64) -> anyhow::Result<()> {
        let what = format!("{} to be voters and Ready", names.join(", "));
        let first = names.first().map_or("", |name| name).to_owned();
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
            // The endpoint may lead to an API server that takes connections seconds before it answers.
            let server = format!("--server=https://{}:6443", this.named(&first)?.address);
            let ready = this.ready_by(&[&server], deadline)?;
            let missing = names.iter().find(|name| !ready.contains(name));
            ensure!(missing.is_none(), "Ready are {ready:?}");
            Ok(())
        })
    }

    /// Waits until these have a vote and answer, and nobody else has a place in etcd.
    pub fn until_voters(&mut self, names: &[&str], seconds: u64) -> anyhow::Result<()> {
        let what = format!("{} to be voters", names.join(", "));
        self.until(seconds, &what, |this, deadline| {
            let members = this.members(names, deadline)?;
            let voters = members.iter().filter(|m| !m.learner && m.answers);
            let mut voters: Vec<_> = voters.map(|m| m.name.as_str()).collect();
            voters.sort_unstable();
            ensure!(
                members.len() == names.len() && voters == names,
                "etcd has {members:?}"
            );
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

fn machinectl() -> anyhow::Result<String> {
    let path = std::env::var("MACHINECTL");
    path.context("MACHINECTL must name the machinectl to try: run the recipe")
}

fn succeeded(ran: Ran, program: &str, args: &[&str]) -> anyhow::Result<String> {
    let (code, why) = (ran.code, ran.stderr);
    ensure!(code == 0, "{program} {}: {code}: {why}", args.join(" "));
    Ok(ran.stdout)
}
