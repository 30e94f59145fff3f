//! Bytes in; a valid bundle or every problem out.

use std::ops::Range;

use machine_pki::Secret;
use serde::de::DeserializeOwned;

use crate::bundle::Bundle;
use crate::document::{API_VERSION, CLUSTER_SECRETS, MACHINE_CONFIG};
use crate::document::{MachineDocument, SecretsDocument};
use crate::machine::MachineConfig;
use crate::path::Path;
use crate::problem::{Fault, Problem, Problems};
use crate::report::Report;
use crate::rules;
use crate::secrets::ClusterSecrets;
use crate::stream::Stream;
use crate::structure::{self, Structure};
use crate::types::{NetworkAddon, Role};
use crate::yaml::Node;

/// The largest input that is read: 1 MiB. Real ones are below 32 KiB.
pub const LARGEST: usize = 1024 * 1024;

/// Reads a document stream: one `MachineConfig`, perhaps one `ClusterSecrets`. The only way to a
/// [`MachineConfig`]; all problems are found at once.
///
/// # Errors
/// Every problem of the stream, in the order of its lines.
pub fn read(bytes: &[u8]) -> Result<Bundle, Problems> {
    let text = text(bytes)?;
    let mut stream = Stream::parse(text);
    let (mut config, mut secrets, mut hidden) = (None, None, Vec::new());
    let mut holder = rules::Holder::default();
    let machine = stream.take(MACHINE_CONFIG);
    if let Some(node) = &machine {
        let mut report = Report::new(node);
        let found: (_, MachineDocument) = shape(node, MACHINE_CONFIG, &mut report);
        holder = rules::Holder {
            role: rules::role(&found.1, &report),
            hostname: rules::hostname(&found.1, &report),
            external_etcd: rules::external_etcd(&found.1, &report),
        };
        config = rules::machine(found.1, &mut report);
        stream.absorb(report);
    } else if stream.problems.is_empty() {
        let hint = format!("one with apiVersion: {API_VERSION} and kind: {MACHINE_CONFIG}");
        return Err(Problems::whole_input(
            "holds no MachineConfig document",
            hint,
        ));
    }
    if let Some(node) = stream.take(CLUSTER_SECRETS) {
        let mut report = Report::new(&node);
        let (structure, document): (Structure, SecretsDocument) =
            shape(&node, CLUSTER_SECRETS, &mut report);
        secrets = rules::secrets(document, &holder, &mut report);
        hidden.extend(structure.secrets);
        stream.absorb(report);
    }
    stream.finish()?;
    let (Some(config), Some(machine)) = (config, machine) else {
        return Err(unexplained());
    };
    hidden.extend(secret_manifests(&config, &machine));
    hidden.sort_by_key(|range| range.start);
    Ok(Bundle {
        config,
        secrets,
        source: Secret::new(text.to_owned()),
        hidden,
    })
}

/// Reads a stream that holds one complete `ClusterSecrets` and nothing else: the file that
/// machines' documents are made from.
///
/// # Errors
/// Every problem of the stream, in the order of its lines.
pub fn read_secrets(bytes: &[u8]) -> Result<ClusterSecrets, Problems> {
    let mut stream = Stream::parse(text(bytes)?);
    if let Some(other) = stream.take(MACHINE_CONFIG) {
        stream.problem(
            &other,
            Fault::new("does not belong beside the cluster's secrets"),
        );
    }
    let Some(node) = stream.take(CLUSTER_SECRETS) else {
        stream.finish()?;
        let hint = format!("one with apiVersion: {API_VERSION} and kind: {CLUSTER_SECRETS}");
        return Err(Problems::whole_input(
            "holds no ClusterSecrets document",
            hint,
        ));
    };
    let mut report = Report::new(&node);
    let (_, document): (Structure, SecretsDocument) = shape(&node, CLUSTER_SECRETS, &mut report);
    let holder = rules::Holder {
        role: Some(Role::ControlPlane),
        ..rules::Holder::default()
    };
    let secrets = rules::secrets(document, &holder, &mut report);
    stream.absorb(report);
    stream.finish()?;
    secrets.ok_or_else(unexplained)
}

/// The text of an input that is not too large.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Problems> {
    if bytes.len() > LARGEST {
        let message = format!("is {} bytes long", bytes.len());
        return Err(Problems::whole_input(message, "at most 1 MiB is read"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let good = std::str::from_utf8(good).unwrap_or_default();
        let line = good.rsplit('\n').next().unwrap_or_default();
        let problem = Problem {
            line: good.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            path: String::new(),
            message: "is not UTF-8".to_owned(),
            hint: Some("save the file as UTF-8".to_owned()),
        };
        Problems::new(vec![problem], 0)
    })?;
    Ok(text)
}

/// Deserialises what the walk has made to fit.
fn shape<T: DeserializeOwned>(node: &Node, kind: &str, report: &mut Report<'_>) -> (Structure, T) {
    let mut structure = structure::walk(node, kind, report);
    let value = std::mem::take(&mut structure.value);
    let document = serde_json::from_value(value);
    (
        structure,
        document.expect("the walk gives only what fits the document's type"),
    )
}

fn unexplained() -> Problems {
    Problems::whole_input("is not valid", "no reason was found; please report this")
}

/// Inline manifests that hold Kubernetes Secrets are as secret as those are.
fn secret_manifests(config: &MachineConfig, root: &Node) -> Vec<Range<usize>> {
    let cluster = Path::root().key("cluster");
    let addon = match config.network_addon() {
        NetworkAddon::Manifests(manifests) => manifests.as_slice(),
        _ => &[],
    };
    let places = [
        (cluster.key("extraManifests"), config.extra_manifests()),
        (cluster.key("networkAddon").key("manifests"), addon),
    ];
    let mut hidden = Vec::new();
    for (at, manifests) in places {
        for (index, manifest) in manifests.iter().enumerate() {
            if rules::holds_secret(manifest)
                && let Some(node) = root.at(&at.index(index))
            {
                hidden.push(node.bytes.clone());
            }
        }
    }
    hidden
}
