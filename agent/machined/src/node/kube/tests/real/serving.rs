//! Requests for certificates that kubelets serve with, as an API server keeps them.

use std::time::Duration;

use data_encoding::BASE64;
use futures_util::{Stream, StreamExt};
use machine_pki::{Usage, inspect};
use machine_plan::action::Action;
use machine_plan::observed::{Observed, Probe};
use machine_plan::serving::SIGNER;
use machine_plan::stages::{Stage, verdict};
use machine_plan::verdict::Verdict;
use serde_json::json;

use crate::crash_matrix::{kind, proven};
use crate::node::kube::Patch;
use crate::testing::control_plane::{ControlPlane, printed};
use crate::testing::within;

const RIGHT: &[u8] = include_bytes!("serving/right.csr");
const USAGES: [&str; 3] = ["digital signature", "key encipherment", "server auth"];
/// Later than anything here was made, by more than what is waited for.
const LATER: i64 = 1 << 40;

/// Made as if by a node's kubelet.
fn ask(cluster: &ControlPlane, name: &str, node: &str, request: &[u8], usages: &[&str]) {
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": { "name": name },
        "spec": { "request": BASE64.encode(request), "signerName": SIGNER, "usages": usages },
    });
    let whom = format!("--as=system:node:{node}");
    let create = ["create", "-f", "-", &whom, "--as-group", "system:nodes"];
    let create = [&create[..], &["--as-group", "system:authenticated"]].concat();
    printed(cluster.kubectl(&create, &object.to_string()));
}

fn shown(cluster: &ControlPlane, name: &str, what: &str) -> String {
    let what = format!("jsonpath={{.status.{what}}}");
    printed(cluster.kubectl(&["get", "csr", name, "-o", &what], ""))
}

fn conditions(cluster: &ControlPlane, name: &str) -> String {
    shown(cluster, name, "conditions[*].type")
}

/// What is planned once the watch knows as many open requests.
async fn planned(
    cluster: &ControlPlane,
    news: &mut (impl Stream<Item = ()> + Unpin),
    count: usize,
) -> Vec<Action> {
    let (kube, access) = (&cluster.kube, &cluster.access);
    let known = || match kube.serving() {
        (Probe::Seen(open), _) => open.len(),
        other => panic!("{other:?}"),
    };
    let all = async {
        while known() != count {
            news.next().await.unwrap();
        }
    };
    within(Duration::from_secs(30), "all requests are seen", all).await;
    let (serving, serving_told) = kube.serving();
    let observed = Observed {
        serving,
        serving_told,
        peers: kube.peers(access, &cluster.desired.hostname).await,
        ..Observed::default()
    };
    match verdict(Stage::Serving, &cluster.desired, &observed, LATER).unwrap() {
        Verdict::Act { actions } => actions,
        Verdict::Settled => Vec::new(),
        other => panic!("{other:?}"),
    }
}

/// w1 with a name and an address, and w2 with none.
async fn nodes(cluster: &ControlPlane) {
    for node in ["w1", "w2"] {
        let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": node } });
        printed(cluster.kubectl(&["create", "-f", "-"], &object.to_string()));
    }
    let addresses = json!([
        { "type": "InternalIP", "address": "10.0.2.16" },
        { "type": "Hostname", "address": "w1" },
    ]);
    let client = cluster.kube.client(&cluster.access).unwrap();
    let status = json!({ "status": { "addresses": addresses } });
    let path = "/api/v1/nodes/w1/status";
    client.patch(path, Patch::Merge, &status).await.unwrap();
}

#[tokio::test]
async fn a_kubelet_is_given_its_own_names_and_no_others() {
    let cluster = ControlPlane::start().await;
    let (kube, access) = (&cluster.kube, &cluster.access);
    nodes(&cluster).await;
    let more = [&USAGES[..], &["client auth"]].concat();
    let (name, no_name): (&[u8], &[u8]) = (
        include_bytes!("serving/anothers_name.csr"),
        include_bytes!("serving/no_name.csr"),
    );
    let (address, mail): (&[u8], &[u8]) = (
        include_bytes!("serving/foreign_address.csr"),
        include_bytes!("serving/mail.csr"),
    );
    let bad: [(&str, &str, &[u8], &[&str]); 6] = [
        ("anothers-name", "w1", name, &USAGES),
        ("anothers-request", "w2", RIGHT, &USAGES),
        ("foreign-address", "w1", address, &USAGES),
        ("more-usages", "w1", RIGHT, &more),
        ("no-name", "w1", no_name, &USAGES),
        ("mail", "w1", mail, &USAGES),
    ];
    for (name, node, request, usages) in &bad[..3] {
        ask(&cluster, name, node, request, usages);
    }
    let mut news = std::pin::pin!(kube.serving_changes(access).await.unwrap());
    assert_eq!(planned(&cluster, &mut news, 3).await.len(), 3);
    for (name, node, request, usages) in &bad[3..] {
        ask(&cluster, name, node, request, usages);
    }
    for name in ["right", "denied"] {
        ask(&cluster, name, "w1", RIGHT, &USAGES);
    }
    let actions = planned(&cluster, &mut news, 8).await;
    // Before: again the same.
    assert_eq!(planned(&cluster, &mut news, 8).await, actions);
    // What somebody has denied meanwhile stays so.
    printed(cluster.kubectl(&["certificate", "deny", "denied"], ""));
    let mut approved = Vec::new();
    for _ in 0..2 {
        for action in &actions {
            eprintln!("{action}");
            kube.decide(access, action).await.unwrap();
            if let Action::ApproveServing { name, .. } = action {
                approved.push(name.as_str());
            }
        }
        assert_eq!(conditions(&cluster, "right"), "Approved");
        assert_eq!(conditions(&cluster, "denied"), "Denied");
        // After: no more of both.
        assert_eq!(planned(&cluster, &mut news, bad.len()).await, []);
    }
    approved.sort_unstable();
    assert_eq!(approved, ["denied", "denied", "right", "right"]);
    for (name, ..) in bad {
        assert_eq!(conditions(&cluster, name), "", "{name}");
        let tells = |a: &&Action| kind(a) == "TellServing" && a.object().ends_with(name);
        assert!(actions.iter().any(|a| tells(&a)), "{name}");
    }
    proven("ApproveServing", [true, false, true, false, false, false]);
    proven("TellServing", [false; 6]);

    // Who signs takes what was approved, and nothing else.
    let _signer = cluster.controller_manager();
    let signed = async {
        loop {
            match shown(&cluster, "right", "certificate") {
                none if none.is_empty() => tokio::time::sleep(Duration::from_millis(500)).await,
                text => return BASE64.decode(text.as_bytes()).unwrap(),
            }
        }
    };
    let signed = within(Duration::from_secs(120), "a certificate", signed).await;
    let facts = inspect(&String::from_utf8(signed).unwrap()).unwrap();
    assert_eq!(facts.common_name, "system:node:w1");
    assert_eq!(facts.usage, Some(Usage::Server));
    assert_eq!(facts.dns, ["w1".to_owned()].into());
    assert_eq!(facts.ips, ["10.0.2.16".parse().unwrap()].into());
    assert_eq!(shown(&cluster, "foreign-address", "certificate"), "");
}
