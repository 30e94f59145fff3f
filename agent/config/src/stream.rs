//! The documents of one input: which kinds there are, and that each is there once.

use crate::document::{API_VERSION, CLUSTER_SECRETS, MACHINE_CONFIG};
use crate::path::quote;
use crate::problem::{Fault, Problem, Problems};
use crate::report::Report;
use crate::suggest::nearest;
use crate::yaml::{self, Body, Node};

/// The documents of one input, sorted by kind.
pub(crate) struct Stream {
    documents: Vec<(&'static str, Node)>,
    /// What is wrong with the stream so far.
    pub(crate) problems: Vec<Problem>,
    left_out: usize,
}

impl Stream {
    pub(crate) fn parse(text: &str) -> Self {
        let mut stream = Self {
            documents: Vec::new(),
            problems: Vec::new(),
            left_out: 0,
        };
        for node in yaml::parse(text, &mut stream.problems) {
            // What stands between two --- and says nothing.
            if !node.is_nothing() {
                stream.sort(node);
            }
        }
        stream
    }

    fn sort(&mut self, node: Node) {
        if !matches!(node.body, Body::Map(_)) {
            let message = format!(
                "a document must be a mapping, but this is {}",
                node.describe()
            );
            let hint = format!("start with apiVersion: {API_VERSION}");
            return self.problem(&node, Fault::new(message).hint(hint));
        }
        let version = node
            .get("apiVersion")
            .and_then(Node::text)
            .unwrap_or_default();
        if version.starts_with("kubeadm.k8s.io/") {
            let fault = Fault::new("is a kubeadm document");
            return self.problem(&node, fault.hint("write it as a MachineConfig"));
        }
        let kind = node
            .get("kind")
            .and_then(Node::text)
            .unwrap_or_default()
            .to_owned();
        let kinds = [MACHINE_CONFIG, CLUSTER_SECRETS];
        let known = kinds.into_iter().find(|known| *known == kind);
        // A document that only forgot its version is still worth judging, and the walk reports it;
        // one of another version has other rules.
        if version != API_VERSION && !(version.is_empty() && known.is_some()) {
            let fault = if version.is_empty() {
                Fault::new("has no apiVersion")
            } else {
                Fault::new(format!("has apiVersion {}", quote(version)))
            };
            let at = node.get("apiVersion").unwrap_or(&node);
            self.at(
                at,
                "apiVersion",
                fault.hint(format!("this build reads {API_VERSION}")),
            );
            if !version.is_empty() {
                return;
            }
        }
        let Some(known) = known else {
            let fault = match kind.as_str() {
                "" => Fault::new("has no kind").hint(format!("one of {}", kinds.join(", "))),
                kind => Fault::new(format!("has kind {}", quote(kind))).hint(
                    match nearest(kind, kinds.into_iter()) {
                        Some(near) => format!("did you mean {near}?"),
                        None => format!("one of {}", kinds.join(", ")),
                    },
                ),
            };
            let at = node.get("kind").unwrap_or(&node);
            return self.at(at, "kind", fault);
        };
        if let Some((_, first)) = self.documents.iter().find(|(kind, _)| *kind == known) {
            let message = format!(
                "is a second {known} document, the first is on line {}",
                first.place.line
            );
            return self.problem(&node, Fault::new(message).hint("keep one of them"));
        }
        self.documents.push((known, node));
    }

    pub(crate) fn take(&mut self, kind: &str) -> Option<Node> {
        let index = self
            .documents
            .iter()
            .position(|(found, _)| *found == kind)?;
        Some(self.documents.remove(index).1)
    }

    pub(crate) fn absorb(&mut self, report: Report<'_>) {
        let (problems, left_out) = report.finish();
        self.problems.extend(problems);
        self.left_out += left_out;
    }

    pub(crate) fn problem(&mut self, node: &Node, fault: Fault) {
        self.at(node, "", fault);
    }

    fn at(&mut self, node: &Node, path: &str, fault: Fault) {
        self.problems.push(Problem {
            line: node.place.line,
            column: node.place.column,
            path: path.to_owned(),
            message: fault.message,
            hint: fault.hint,
        });
    }

    pub(crate) fn finish(&mut self) -> Result<(), Problems> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Problems::new(
            std::mem::take(&mut self.problems),
            self.left_out,
        ))
    }
}
