//! Stock etcdctl at one member, from inside its machine: what it says also when nobody else hears it.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::node::Node;
use crate::command::{Ran, run_quietly};
use crate::deadline::Deadline;

const PKI: &str = "/etc/kubernetes/pki/etcd";

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its id.
    pub id: u64,
    /// Whom it follows; 0 is nobody.
    pub leader: u64,
    /// In which term.
    pub term: u64,
}

/// Questions to one member.
pub struct Voice<'a>(pub &'a Node);

impl Voice<'_> {
    /// Who it is and whom it follows.
    pub fn status(&self, deadline: &Deadline) -> anyhow::Result<Answer> {
        let ran = self.run(&["endpoint", "status", "-w", "json"], deadline)?;
        let value: Value = serde_json::from_str(&ran.stdout).context(ran.stderr)?;
        let status = value.pointer("/0/Status").context("no status")?;
        let number = |at: &str| status.pointer(at).and_then(Value::as_u64).unwrap_or(0);
        Ok(Answer {
            id: number("/header/member_id"),
            leader: number("/leader"),
            term: number("/raftTerm"),
        })
    }

    /// Whether it has taken a value.
    pub fn put(&self, key: &str, value: &str, deadline: &Deadline) -> anyhow::Result<bool> {
        Ok(self.run(&["put", key, value], deadline)?.code == 0)
    }

    /// The value that it has itself, whatever the others have.
    pub fn get(&self, key: &str, deadline: &Deadline) -> anyhow::Result<String> {
        let words = ["get", key, "--print-value-only", "--consistency=s"];
        Ok(self.run(&words, deadline)?.stdout.trim().to_owned())
    }

    fn run(&self, args: &[&str], deadline: &Deadline) -> anyhow::Result<Ran> {
        let [nsenter, inside] = self.0.inside();
        let pki = |name: &str| Ok::<_, anyhow::Error>(self.0.path(PKI)?.join(name));
        let option = |name: &str, file: &str| {
            let file = pki(file)?;
            Ok::<_, anyhow::Error>(format!("--{name}={}", file.display()))
        };
        let options = [
            option("cacert", "ca.crt")?,
            option("cert", "healthcheck-client.crt")?,
            option("key", "healthcheck-client.key")?,
        ];
        let mut words = vec![inside.as_str(), "etcdctl", "--command-timeout=3s"];
        words.push("--endpoints=https://127.0.0.1:2379");
        words.extend(options.iter().map(String::as_str));
        words.extend(args);
        let env = [("ETCDCTL_API", Path::new("3"))];
        run_quietly(Path::new(&nsenter), &words, &env, deadline)
    }
}
