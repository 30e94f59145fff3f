//! Requests of kubelets for the certificates that they serve with: which of them are right. Kubernetes
//! signs what somebody has approved, and approves none of these by itself (decision 17).

mod cluster;

use std::net::IpAddr;

use machine_pki::RequestFacts;
use serde::Serialize;

use crate::observed::Probe;
pub use cluster::{Cluster, Node};

/// Whose signature is asked for.
pub const SIGNER: &str = "kubernetes.io/kubelet-serving";

const USER: &str = "system:node:";
const GROUP: &str = "system:nodes";
/// The signer signs nothing that lacks one of these.
const NEEDED: [&str; 2] = ["digital signature", "server auth"];
/// Of keys that can do that: of RSA.
const ALLOWED: &str = "key encipherment";
/// The longest text of somebody else's that is shown, in characters.
const SHOWN: usize = 100;

/// A request that nobody has decided on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ServingRequest {
    /// The object's name.
    pub name: String,
    /// Which of that name.
    pub uid: String,
    /// Who made it, by the API server's word.
    pub username: String,
    /// His groups, by the same.
    pub groups: Vec<String>,
    /// What the certificate is to be used for.
    pub usages: Vec<String>,
    /// What the request itself says. `Unreadable`: it is none, or not a clear one.
    pub asks: Probe<RequestFacts>,
    /// When it was made, in Unix seconds.
    pub made: i64,
}

/// Why a request is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// In words.
    pub why: String,
    /// Whether that is so whatever the cluster's nodes say of themselves later.
    pub for_good: bool,
}

fn never<T>(why: impl Into<String>) -> Result<T, Left> {
    Err(Left {
        why: why.into(),
        for_good: true,
    })
}

fn not_yet<T>(why: impl Into<String>) -> Result<T, Left> {
    Err(Left {
        why: why.into(),
        for_good: false,
    })
}

impl ServingRequest {
    /// The name of the node that made it.
    pub fn node(&self) -> Option<&str> {
        let named = self.username.strip_prefix(USER);
        let named = named.filter(|name| !name.is_empty());
        named.filter(|_| self.groups.iter().any(|group| group == GROUP))
    }

    /// Who made it, as it is shown.
    pub fn whom(&self) -> String {
        match self.node() {
            Some(node) => format!("node {}", shown(node)),
            None => shown(&self.username),
        }
    }

    /// The node whose certificate it is, where it is right.
    ///
    /// # Errors
    /// Why it is left alone.
    pub fn judged(&self, cluster: &Cluster<'_>) -> Result<&str, Left> {
        let Some(name) = self.node() else {
            return never("who made it is no node");
        };
        let asks = match &self.asks {
            Probe::Seen(asks) => asks,
            Probe::Unreadable(why) => return never(why),
            Probe::Absent => return never("it holds no request"),
        };
        self.is_in_form(asks)?;
        let Some(node) = cluster.node(name) else {
            return not_yet("there is no such node");
        };
        for dns in &asks.dns {
            may_be_called(cluster, node, dns)?;
        }
        for ip in &asks.ips {
            may_be_at(cluster, node, *ip)?;
        }
        Ok(name)
    }

    // What can be said of it without knowing the node.
    fn is_in_form(&self, asks: &RequestFacts) -> Result<(), Left> {
        if asks.common_names != [self.username.as_str()] || asks.organizations != [GROUP] {
            let all = |values: &[String]| {
                let values: Vec<_> = values.iter().map(|value| shown(value)).collect();
                shown(&values.join(" and "))
            };
            return never(format!(
                "its subject is CN {}, O {}, and has to be CN {}, O {GROUP}",
                all(&asks.common_names),
                all(&asks.organizations),
                shown(&self.username)
            ));
        }
        let mut usages = self.usages.iter();
        if let Some(other) =
            usages.find(|usage| !NEEDED.contains(&usage.as_str()) && *usage != ALLOWED)
        {
            return never(format!("it is to be used for {}", shown(other)));
        }
        let lacks = |usage: &&str| !self.usages.iter().any(|given| given == usage);
        if let Some(missing) = NEEDED.into_iter().find(lacks) {
            return never(format!("it is not to be used for {missing}"));
        }
        if asks.dns.is_empty() && asks.ips.is_empty() {
            return never("it asks for no name and no address");
        }
        Ok(())
    }
}

fn may_be_called(cluster: &Cluster<'_>, node: &Node<'_>, dns: &str) -> Result<(), Left> {
    // Whoever compares names does not tell capitals apart.
    let name = dns.to_ascii_lowercase();
    if !is_plain(&name) {
        return never(format!("{} is no plain name of a machine", shown(dns)));
    }
    let own = name == node.name;
    if !own && !node.known_by.names.contains(&name) {
        return not_yet(format!("{} is no name of that node", shown(dns)));
    }
    if cluster.keeps_name(node, &name) {
        return not_yet(format!("{} is the cluster's own", shown(dns)));
    }
    let by = |other: &Node<'_>| other.name == name || other.known_by.names.contains(&name);
    match cluster.rival(node, own, by) {
        Some(other) => not_yet(format!("{} is node {other}'s too", shown(dns))),
        None => Ok(()),
    }
}

fn may_be_at(cluster: &Cluster<'_>, node: &Node<'_>, ip: IpAddr) -> Result<(), Left> {
    if !node.known_by.addresses.contains(&ip) {
        return not_yet(format!("{ip} is no address of that node"));
    }
    if cluster.keeps_address(node, ip) {
        return not_yet(format!("{ip} is the cluster's own"));
    }
    let by = |other: &Node<'_>| other.known_by.addresses.contains(&ip);
    match cluster.rival(node, false, by) {
        Some(other) => not_yet(format!("{ip} is node {other}'s too")),
        None => Ok(()),
    }
}

// A star would stand for any name, and who takes an address for a name takes it from here too.
fn is_plain(name: &str) -> bool {
    let label = |label: &str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && label.chars().all(allowed)
    };
    name.parse::<IpAddr>().is_err() && name.split('.').all(label)
}

/// Somebody else's text, fit for a terminal.
pub fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
