//! `KubeletConfiguration`, and the kubelet's arguments.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::account::Account;
use super::args::{self, Written};
use super::draft::at;
use super::input::Item;
use crate::path::Path;
use crate::problem::Fault;
use crate::scalar::plain;
use crate::types::TaintEffect;
use crate::yaml::{Body, Node};

/// Fields that say what every kubelet is told anyway.
const SAME: &[(&str, &str)] = &[
    ("authentication.anonymous.enabled", "false"),
    ("authentication.webhook.enabled", "true"),
    (
        "authentication.x509.clientCAFile",
        "/etc/kubernetes/pki/ca.crt",
    ),
    ("authorization.mode", "Webhook"),
    ("cgroupDriver", "systemd"),
    (
        "containerRuntimeEndpoint",
        "unix:///run/containerd/containerd.sock",
    ),
    (
        "containerRuntimeEndpoint",
        "unix:///var/run/containerd/containerd.sock",
    ),
    ("healthzBindAddress", "127.0.0.1"),
    ("healthzPort", "10248"),
    ("resolvConf", "/run/systemd/resolve/resolv.conf"),
    ("rotateCertificates", "true"),
    ("staticPodPath", "/etc/kubernetes/manifests"),
];

/// Where the agent's choice is another than kubelet's for what is not written.
const CHOSEN: &[&str] = &["shutdownGracePeriod", "shutdownGracePeriodCriticalPods"];

/// Arguments that say what every kubelet is told anyway.
const SAME_ARGS: &[(&str, &str)] = &[
    ("cgroup-driver", "systemd"),
    ("config", "/var/lib/kubelet/config.yaml"),
    ("container-runtime", "remote"),
    (
        "container-runtime-endpoint",
        "unix:///run/containerd/containerd.sock",
    ),
    (
        "container-runtime-endpoint",
        "unix:///var/run/containerd/containerd.sock",
    ),
    (
        "container-runtime-endpoint",
        "/run/containerd/containerd.sock",
    ),
    ("network-plugin", "cni"),
    ("pod-manifest-path", "/etc/kubernetes/manifests"),
    ("rotate-certificates", "true"),
];

pub(super) fn configuration(item: Option<Item>, account: &mut Account) {
    let Some(item) = item else { return };
    let to = at(&["machine", "kubelet", "extraConfig"]);
    let dns = dns_address(account).map(|address| json!([address.to_string()]));
    let domain = account.draft.text(&["cluster", "networking", "dnsDomain"]);
    let domain = domain.unwrap_or("cluster.local").to_owned();
    for (name, field) in account.fields(item) {
        let same = match name.as_str() {
            "clusterDNS" => dns.is_some() && value(&field.node) == dns,
            "clusterDomain" => field.text() == Some(&domain),
            _ => false,
        };
        if !same {
            carry(&name, field, &to.key(&name), account);
        }
    }
}

/// Carries over what a field holds, down to single values and lists: so that what machines do not
/// accept of it is left without the rest.
fn carry(shown: &str, item: Item, to: &Path, account: &mut Account) {
    if matches!(item.node.body, Body::Map(_)) {
        for (name, field) in account.fields(item) {
            carry(&format!("{shown}.{name}"), field, &to.key(&name), account);
        }
        return;
    }
    let text = item.node.text();
    let same = text.is_some_and(|text| SAME.contains(&(shown, text)));
    if same || item.node.is_nothing() {
        return;
    }
    if is_unset(shown, &item.node) {
        if CHOSEN.contains(&shown) {
            account.leave(
                &item.origin,
                "is not written, as kubelet reads it: pods get the agent's time to end at a shutdown",
                format!("write {shown} into machine.kubelet.extraConfig for another"),
            );
        }
        return;
    }
    match value(&item.node) {
        Some(value) => account.draft.try_set(to.clone(), value, item.origin),
        None => {
            let fault = Fault::new("holds a number that JSON has no form for");
            account.refuse(&item.origin, fault.hint("quote it"));
        }
    }
}

/// What kubelet reads as not written: kubeadm prints fields in that form.
fn is_unset(shown: &str, node: &Node) -> bool {
    match &node.body {
        // Here it means that there is no file to read.
        _ if shown == "resolvConf" => false,
        Body::Scalar { text, .. } if shown.starts_with("logging.") => {
            matches!(text.as_str(), "" | "0" | "0s")
        }
        Body::Scalar { text, .. } => matches!(text.as_str(), "" | "0s"),
        Body::List(entries) => entries.is_empty() && shown == "clusterDNS",
        _ => false,
    }
}

/// A value of any shape; none where it holds what JSON has no form for.
fn value(node: &Node) -> Option<Value> {
    match &node.body {
        Body::Scalar { text, plain: true } => plain(text),
        Body::Scalar { text, .. } => Some(Value::String(text.clone())),
        Body::List(entries) => {
            let values = entries.iter().map(value);
            values.collect::<Option<Vec<_>>>().map(Value::Array)
        }
        Body::Map(entries) => {
            let mut fields = Map::new();
            for (key, child) in entries {
                let name = key.text.clone().unwrap_or_default();
                fields.insert(name, value(child)?);
            }
            Some(Value::Object(fields))
        }
        Body::Refused => None,
    }
}

/// The tenth address of the service range, which DNS has by kubeadm's convention and ours.
fn dns_address(account: &Account) -> Option<IpAddr> {
    let range = account
        .draft
        .text(&["cluster", "networking", "serviceSubnet"]);
    let first = range.unwrap_or("10.96.0.0/12").split(',').next()?;
    let range: IpNet = first.trim().parse().ok()?;
    match range.network() {
        IpAddr::V4(base) => Some(u32::from(base).checked_add(10)?.to_be_bytes().into()),
        IpAddr::V6(base) => Some(u128::from(base).checked_add(10)?.to_be_bytes().into()),
    }
}

/// Arguments of the kubelet; some have fields of their own.
pub(super) fn arguments(item: Option<Item>, account: &mut Account) {
    let mut rest = Vec::new();
    for arg in args::read(item, account) {
        let taken = match arg.name.as_str() {
            "node-ip" => node_ip(&arg, account),
            "node-labels" => labels(&arg, account),
            "register-with-taints" => taints(&arg, account),
            "hostname-override" => hostname(&arg, account),
            "pod-infra-container-image" => {
                let path = at(&["machine", "containerd", "sandboxImage"]);
                let origin = arg.item.origin.clone();
                account.draft.set(path, arg.value.as_str(), origin);
                true
            }
            "cluster-domain" => {
                let domain = account.draft.text(&["cluster", "networking", "dnsDomain"]);
                arg.value == domain.unwrap_or("cluster.local")
            }
            _ => false,
        };
        if !taken {
            rest.push(arg);
        }
    }
    let to = at(&["machine", "kubelet", "extraArgs"]);
    args::carry(rest, SAME_ARGS, &to, account);
}

fn node_ip(arg: &Written, account: &mut Account) -> bool {
    let single = arg.value.parse::<IpAddr>().is_ok();
    if single {
        let path = at(&["machine", "kubelet", "nodeIP"]);
        let origin = arg.item.origin.clone();
        account.draft.set(path, arg.value.as_str(), origin);
    }
    single
}

fn labels(arg: &Written, account: &mut Account) -> bool {
    let to = at(&["machine", "kubelet", "nodeLabels"]);
    for label in arg.value.split(',').map(str::trim) {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        if !key.is_empty() {
            let origin = arg.item.origin.clone();
            account.draft.try_set(to.key(key), value, origin);
        }
    }
    true
}

/// `key=value:Effect` or `key:Effect`, separated by commas.
fn taints(arg: &Written, account: &mut Account) -> bool {
    let read = |text: &str| {
        let (mark, effect) = text.trim().rsplit_once(':')?;
        let (key, value) = mark.split_once('=').unwrap_or((mark, ""));
        let effect: TaintEffect = serde_json::from_value(effect.into()).ok()?;
        let mut taint = json!({ "key": key });
        if !value.is_empty() {
            taint["value"] = value.into();
        }
        taint["effect"] = effect.as_str().into();
        Some(taint)
    };
    let Some(taints) = arg.value.split(',').map(read).collect::<Option<Vec<_>>>() else {
        return false;
    };
    for taint in taints {
        let to = at(&["machine", "kubelet", "taints"]);
        account.draft.add(to, taint, arg.item.origin.clone());
    }
    true
}

fn hostname(arg: &Written, account: &mut Account) -> bool {
    let path = ["machine", "hostname"];
    match account.draft.text(&path) {
        Some(name) => name == arg.value,
        None => {
            let origin = arg.item.origin.clone();
            account.draft.set(at(&path), arg.value.as_str(), origin);
            true
        }
    }
}
