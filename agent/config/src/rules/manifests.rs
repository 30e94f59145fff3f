//! Manifests written inside a config.

use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::yaml::{self, Node};

/// Judges inline manifests. What they say beyond naming an object is the API server's business.
pub(super) fn judge(manifests: &[String], at: &Path, report: &mut Report<'_>) {
    for (index, manifest) in manifests.iter().enumerate() {
        let at = at.index(index);
        if !report.sound(&at) {
            continue;
        }
        for fault in faults(manifest) {
            report.value(&at, fault);
        }
    }
}

fn faults(manifest: &str) -> Vec<Fault> {
    let mut problems = Vec::new();
    let objects = yaml::parse(manifest, &mut problems);
    if let Some(problem) = problems.into_iter().next() {
        let message = format!("line {} of the manifest {}", problem.line, problem.message);
        return vec![Fault {
            message,
            hint: problem.hint,
        }];
    }
    let objects: Vec<Node> = objects
        .into_iter()
        .filter(|object| !object.is_nothing())
        .collect();
    if objects.is_empty() {
        return vec![Fault::new("holds no object").hint("write the manifest's YAML, after \"|\"")];
    }
    objects
        .iter()
        .filter_map(|object| nameless(object).err())
        .collect()
}

fn nameless(object: &Node) -> Result<(), Fault> {
    let line = object.place.line;
    let says = |node: Option<&Node>| {
        node.is_some_and(|node| !node.is_nothing() && node.text().is_some_and(|t| !t.is_empty()))
    };
    let missing = if !says(object.get("apiVersion")) {
        "apiVersion"
    } else if !says(object.get("kind")) {
        "kind"
    } else if !says(
        object
            .get("metadata")
            .and_then(|metadata| metadata.get("name")),
    ) {
        "metadata.name"
    } else {
        return Ok(());
    };
    Err(Fault::new(format!(
        "the object on line {line} of the manifest has no {missing}"
    ))
    .hint("every object needs apiVersion, kind and metadata.name"))
}

/// Whether a manifest holds a Secret, so that it must not be shown.
pub(crate) fn holds_secret(manifest: &str) -> bool {
    let objects = yaml::parse(manifest, &mut Vec::new());
    objects
        .iter()
        .any(|object| object.get("kind").and_then(Node::text) == Some("Secret"))
}
