//! Which machine is meant: `[NAME=]HOST[:PORT]`, or a name that the context knows.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// One machine to talk to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The node's name, which its certificate must carry; without one the host stands in.
    pub name: Option<String>,
    /// A DNS name or an address.
    pub host: String,
    /// The machine API's port.
    pub port: u16,
}

/// A node as the contexts file keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `HOST[:PORT]`.
    pub address: String,
}

impl Target {
    /// What tables and messages call it.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.host)
    }

    /// The name that the machine's certificate must carry.
    pub fn server_name(&self) -> &str {
        self.label()
    }

    /// `HOST:PORT`, with brackets where the host is an IPv6 address.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// As the contexts file keeps it.
    pub fn as_node(&self) -> Node {
        Node {
            name: self.label().to_owned(),
            address: self.address(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} at {}", self.address()),
            None => f.write_str(&self.address()),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = match text.split_once('=') {
            Some((name, place)) => (Some(name), place),
            None => (None, text),
        };
        if let Some(name) = name {
            check_host(name, text)?;
        }
        let (host, port) = split(place).ok_or_else(|| bad(text))?;
        check_host(host, text)?;
        let port = match port {
            None => machined_proto::PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("`{port}` in `{text}` is not a port from 1 to 65535"))?,
        };
        Ok(Self {
            name: name.map(str::to_owned),
            host: host.to_owned(),
            port,
        })
    }
}

fn bad(text: &str) -> String {
    format!("`{text}` is not a node: say [NAME=]HOST[:PORT], as in cp1=10.0.2.15")
}

/// Host and port. An IPv6 address needs brackets only where a port follows.
fn split(place: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    if place.parse::<IpAddr>().is_ok() {
        return Some((place, None));
    }
    match place.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((place, None)),
    }
}

fn check_host(host: &str, text: &str) -> Result<(), String> {
    let valid = !host.is_empty() && rustls_pki_types::ServerName::try_from(host).is_ok();
    if valid { Ok(()) } else { Err(bad(text)) }
}

/// The machines meant by `-n` options: names from the context first, then addresses.
/// No option means every node that the context knows.
pub fn choose(asked: &[String], known: &[Node]) -> Result<Vec<Target>, Failure> {
    let mut targets: Vec<Target> = Vec::new();
    if asked.is_empty() {
        for node in known {
            targets.push(from_context(node)?);
        }
    }
    for text in asked {
        let target = match known.iter().find(|node| node.name == *text) {
            Some(node) => from_context(node)?,
            None => {
                let target: Target = text.parse().map_err(Failure::usage)?;
                // A word without a dot is rather a slip than a machine's name in DNS.
                if !known.is_empty() && target.name.is_none() && !target.host.contains(['.', ':']) {
                    let names: Vec<_> = known.iter().map(|node| node.name.as_str()).collect();
                    let names = names.join(", ");
                    crate::tell!(
                        "{text} is no node of the context (it has: {names}): taken for a host"
                    );
                }
                target
            }
        };
        if targets.iter().any(|other| other.label() == target.label()) {
            return Err(Failure::usage(format!(
                "node {} is named twice",
                target.label()
            )));
        }
        targets.push(target);
    }
    if targets.is_empty() {
        return Err(
            Failure::usage("no node: the context knows none and -n names none")
                .next("say -n NAME=HOST, or keep it: machinectl context add … -n NAME=HOST"),
        );
    }
    Ok(targets)
}

/// The one machine meant, for commands that must never reach several by accident.
pub fn choose_one(asked: &[String], known: &[Node], verb: &str) -> Result<Target, Failure> {
    let mut targets = choose(asked, known)?;
    match targets.pop() {
        Some(target) if targets.is_empty() => Ok(target),
        _ => Err(
            Failure::usage(format!("{verb} works on one node at a time"))
                .next(format!("machinectl {verb} -n NAME")),
        ),
    }
}

/// The machines meant, for commands that disrupt: more than one only if all are named.
pub fn choose_named(asked: &[String], known: &[Node], verb: &str) -> Result<Vec<Target>, Failure> {
    if asked.is_empty() && known.len() > 1 {
        return Err(
            Failure::usage(format!("{verb} needs to be told which nodes"))
                .next(format!("machinectl {verb} -n NAME [-n NAME]…")),
        );
    }
    choose(asked, known)
}

fn from_context(node: &Node) -> Result<Target, Failure> {
    let told = |error| Failure::usage(format!("node {} in the contexts file: {error}", node.name));
    let place: Target = node.address.parse().map_err(told)?;
    Ok(Target {
        name: Some(node.name.clone()),
        ..place
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(Option<String>, String, u16), String> {
        text.parse().map(|t: Target| (t.name, t.host, t.port))
    }

    #[test]
    fn node_specs() {
        let name = |name: &str| Some(name.to_owned());
        for (text, want) in [
            ("10.0.2.15", (None, "10.0.2.15", 50_000)),
            ("cp1=10.0.2.15", (name("cp1"), "10.0.2.15", 50_000)),
            ("cp1=127.0.0.1:15000", (name("cp1"), "127.0.0.1", 15_000)),
            ("cp1.example", (None, "cp1.example", 50_000)),
            ("fd00::1", (None, "fd00::1", 50_000)),
            ("cp1=[fd00::1]:9", (name("cp1"), "fd00::1", 9)),
            ("[fd00::1]", (None, "fd00::1", 50_000)),
        ] {
            assert_eq!(
                parsed(text),
                Ok((want.0, want.1.to_owned(), want.2)),
                "{text}"
            );
        }
        for text in [
            "",
            "=",
            "cp1=",
            "=10.0.0.1",
            "a b",
            "h:0",
            "h:70000",
            "h:x",
            "[fd00::1]x",
            "https://h",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_is_written_with_brackets() {
        let target: Target = "cp1=fd00::1".parse().unwrap();
        assert_eq!(target.address(), "[fd00::1]:50000");
        assert_eq!(
            target.as_node().address.parse::<Target>().unwrap().host,
            "fd00::1"
        );
    }

    #[test]
    fn names_from_the_context_come_first() {
        let known = [
            Node {
                name: "cp1".into(),
                address: "10.0.0.1".into(),
            },
            Node {
                name: "w1".into(),
                address: "10.0.0.2:5".into(),
            },
        ];
        let asked = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(choose(&[], &known).unwrap().len(), 2);
        assert_eq!(choose(&asked(&["w1"]), &known).unwrap()[0].port, 5);
        assert_eq!(choose(&asked(&["other"]), &known).unwrap()[0].host, "other");
        assert!(choose(&asked(&["cp1", "cp1"]), &known).is_err());
        assert!(choose(&[], &[]).is_err());
        assert!(choose_one(&[], &known, "bootstrap").is_err());
        assert!(choose_named(&[], &known, "reboot").is_err());
        assert_eq!(choose_named(&[], &known[..1], "reboot").unwrap().len(), 1);
        assert_eq!(
            choose_named(&asked(&["cp1", "w1"]), &known, "reboot")
                .unwrap()
                .len(),
            2
        );
    }
}
