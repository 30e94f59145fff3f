//! Machines without the agent: the double plays systemd and the kubelet for whatever else makes a
//! control plane of them. The endpoint's load balancer is before them too.

use std::path::Path;

use super::net::Net;
use super::node::Node;
use super::programs::{Balancer, Programs};
use crate::command::{Ran, run};
use crate::vm::Workshop;

/// Machines of somebody else's, all on. The network goes last.
pub struct Bare {
    /// The machines.
    pub nodes: Vec<Node>,
    balancer: Balancer,
    shop: Workshop,
    net: Net,
}

impl Bare {
    /// Turns machines of these names on.
    pub fn new(story: &str, double: &str, names: &[&str]) -> anyhow::Result<Self> {
        let programs = Programs::from_env(double)?.without_agent();
        let (shop, net) = (Workshop::new(story)?, Net::new()?);
        let mut nodes = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let address = format!("192.0.2.{}", 11 + index);
            let mut node = Node::new(shop.path(), name, &address, b"")?;
            node.power_on(&net, &programs)?;
            nodes.push(node);
        }
        let to: Vec<_> = nodes.iter().map(|node| node.address.as_str()).collect();
        let balancer = Balancer::start(&programs, &to)?;
        Ok(Self {
            nodes,
            balancer,
            shop,
            net,
        })
    }

    /// Runs a command on a machine to its end.
    pub fn run(&self, node: &Node, words: &[&str], seconds: u64) -> anyhow::Result<Ran> {
        let on = node.on()?;
        let on: Vec<_> = on.iter().map(String::as_str).collect();
        run(Path::new(on[0]), &[&on[1..], words].concat(), &[], seconds)
    }

    /// All is seen: what they wrote goes.
    pub fn done(self) {
        let Self {
            mut nodes,
            balancer,
            shop,
            net,
        } = self;
        for node in &mut nodes {
            node.cut_power(&net);
        }
        drop(balancer);
        shop.done();
    }
}
