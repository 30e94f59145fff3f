//! `KubeProxyConfiguration`, which has no counterpart.

use super::account::Account;
use super::input::Item;
use crate::yaml::{Body, Node};

/// Fields that say what every kube-proxy is told anyway.
const SAME: &[(&str, &str)] = &[
    ("bindAddress", "0.0.0.0"),
    ("bindAddress", "::"),
    (
        "clientConnection.kubeconfig",
        "/var/lib/kube-proxy/kubeconfig.conf",
    ),
    ("mode", "iptables"),
];

pub(super) fn configuration(item: Option<Item>, account: &mut Account) {
    let Some(item) = item else { return };
    let pods = account.draft.text(&["cluster", "networking", "podSubnet"]);
    let pods = pods.unwrap_or("10.244.0.0/16").to_owned();
    for (name, field) in account.fields(item) {
        if !(name == "clusterCIDR" && field.text() == Some(&pods)) {
            leave(&name, field, account);
        }
    }
}

fn leave(shown: &str, item: Item, account: &mut Account) {
    if matches!(item.node.body, Body::Map(_)) {
        for (name, field) in account.fields(item) {
            leave(&format!("{shown}.{name}"), field, account);
        }
        return;
    }
    let same = item
        .text()
        .is_some_and(|text| SAME.contains(&(shown, text)));
    if !same && !is_unset(&item.node) {
        account.leave(
            &item.origin,
            "kube-proxy's configuration is the agent's",
            "change its ConfigMap in kube-system with kubectl",
        );
    }
}

/// What kube-proxy reads as not written: kubeadm prints fields in that form.
fn is_unset(node: &Node) -> bool {
    match &node.body {
        Body::Scalar { text, .. } => {
            node.is_nothing() || matches!(text.as_str(), "" | "0" | "0s" | "false")
        }
        Body::List(entries) => entries.is_empty(),
        _ => false,
    }
}
