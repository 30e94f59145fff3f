//! The kubelet's part.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Map, Value};

use super::args::{self, Program};
use super::gates::{FIELDS_SINCE, OWNED_FIELDS};
use super::{kubelet_fields, labels};
use crate::document::{KubeletSection, TaintSection};
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Kubelet, KubernetesVersion, Taint};

pub(super) fn judge(
    section: KubeletSection,
    at: &Path,
    version: Option<KubernetesVersion>,
    report: &mut Report<'_>,
) -> Kubelet {
    extra_config(
        &section.extra_config,
        &at.key("extraConfig"),
        version,
        report,
    );
    for (key, value) in &section.node_labels {
        let at = at.key("nodeLabels").key(key);
        if let Err(fault) = labels::key(key).and_then(|()| labels::may_set_itself(key)) {
            report.key(&at, fault);
        }
        if let Err(fault) = labels::value(value) {
            report.value(&at, fault);
        }
    }
    let node_ip = match section.node_ip.as_str() {
        "" => None,
        text => node_ip(text, &at.key("nodeIP"), report),
    };
    Kubelet {
        extra_args: args::judge(
            section.extra_args,
            Program::Kubelet,
            &at.key("extraArgs"),
            version,
            report,
        ),
        extra_config: section.extra_config,
        labels: section.node_labels,
        taints: taints(section.taints, &at.key("taints"), report),
        node_ip,
    }
}

fn node_ip(text: &str, at: &Path, report: &mut Report<'_>) -> Option<IpAddr> {
    let fault = match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() => {
            Fault::new(format!("{ip} cannot be a node's address"))
        }
        Ok(ip) => return Some(ip),
        Err(_) => Fault::new("is not an IP address"),
    };
    report.value(
        at,
        fault.hint("an address of the machine, for example 10.0.2.15"),
    );
    None
}

fn taints(sections: Vec<TaintSection>, at: &Path, report: &mut Report<'_>) -> Vec<Taint> {
    let mut seen = BTreeSet::new();
    let mut taints = Vec::with_capacity(sections.len());
    for (index, TaintSection { key, value, effect }) in sections.into_iter().enumerate() {
        let at = at.index(index);
        if let Err(fault) = labels::key(&key) {
            report.value(&at.key("key"), fault);
        }
        if let Err(fault) = labels::value(&value) {
            report.value(&at.key("value"), fault);
        }
        if report.whole(&at) && !seen.insert((key.clone(), effect.as_str())) {
            let fault = Fault::new(format!("is a second taint of this key with {effect}"));
            report.value(&at, fault.hint("remove one of them"));
        }
        taints.push(Taint { key, value, effect });
    }
    taints
}

fn extra_config(
    config: &Map<String, Value>,
    at: &Path,
    version: Option<KubernetesVersion>,
    report: &mut Report<'_>,
) {
    for (fields, instead) in OWNED_FIELDS {
        let mut value = fields.first().and_then(|field| config.get(*field));
        for field in fields.iter().skip(1) {
            value = value.and_then(|found| found.get(field));
        }
        let path = fields
            .iter()
            .fold(at.clone(), |path, field| path.key(field));
        if value.is_some() {
            report.key(&path, Fault::new("is set by the agent").hint(*instead));
        }
    }
    for (field, value) in config {
        if let Err((entry, fault)) = kubelet_fields::judge(field, value) {
            let at = at.key(field);
            let at = entry.map_or(at.clone(), |entry| at.key(&entry));
            report.value(&at, fault);
        }
    }
    let Some(version) = version else { return };
    for (since, fields) in FIELDS_SINCE {
        for field in *fields {
            if !version.at_least(*since) && config.contains_key(*field) {
                let message = format!("kubelet {version} does not know it (new in v1.{since})");
                report.key(&at.key(field), Fault::new(message).hint("remove it"));
            }
        }
    }
}
