//! What one run of a command works with: the context, the machines meant, the limits.

use std::time::Duration;

use crate::args::Common;
use crate::client::{self, Limits, Link};
use crate::context::{self, Context, Contexts};
use crate::failure::Failure;
use crate::target::{self, Node, Target};

/// Connecting includes TLS on a machine that may be emulated and busy.
const CONNECT: Duration = Duration::from_secs(15);

/// One run of a command.
#[derive(Debug)]
pub struct Session {
    /// The identity used.
    pub context: Context,
    /// How long things may take.
    pub limits: Limits,
    nodes: Vec<String>,
}

/// The limits that the options set.
pub fn limits(common: &Common) -> Limits {
    Limits {
        connect: CONNECT.min(common.request_timeout),
        call: common.request_timeout,
    }
}

/// The context asked for. An empty variable, as scripts leave it, asks for none.
pub fn asked(common: &Common) -> Option<&str> {
    common.context.as_deref().filter(|name| !name.is_empty())
}

/// Reads the contexts file.
pub fn contexts() -> Result<Contexts, Failure> {
    Contexts::load(&context::default_path()?)
}

/// Reads the contexts file to change it.
pub fn contexts_to_change() -> Result<Contexts, Failure> {
    Contexts::load_to_change(&context::default_path()?)
}

impl Session {
    /// Opens the context that the options mean.
    pub fn open(common: &Common) -> Result<Self, Failure> {
        let context = contexts()?.choose(asked(common))?.clone();
        Ok(Self {
            context,
            limits: limits(common),
            nodes: common.node.clone(),
        })
    }

    /// For a context that is at hand already.
    pub fn of(context: Context, limits: Limits) -> Self {
        Self {
            context,
            limits,
            nodes: Vec::new(),
        }
    }

    /// Every machine meant.
    pub fn targets(&self) -> Result<Vec<Target>, Failure> {
        target::choose(&self.nodes, &self.context.nodes)
    }

    /// The machines meant, by name, for commands that disrupt.
    pub fn named_targets(&self, verb: &str) -> Result<Vec<Target>, Failure> {
        target::choose_named(&self.nodes, &self.context.nodes, verb)
    }

    /// The one machine meant.
    pub fn target(&self, verb: &str) -> Result<Target, Failure> {
        target::choose_one(&self.nodes, &self.context.nodes, verb)
    }

    /// How a machine is named on the command line.
    pub fn said(&self, target: &Target) -> String {
        let known = |node: &Node| {
            let whole = format!("{}={}", node.name, node.address);
            whole.parse().is_ok_and(|other: Target| other == *target)
        };
        match &target.name {
            Some(name) if self.context.nodes.iter().any(known) => name.clone(),
            Some(name) => format!("{name}={}", target.address()),
            None => target.address(),
        }
    }

    /// A connection to a machine.
    pub async fn connect(&self, target: &Target) -> Result<Link, Failure> {
        client::connect(target, &self.context, self.limits).await
    }
}
