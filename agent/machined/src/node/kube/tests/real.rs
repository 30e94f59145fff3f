//! See `just adapters`.

mod serving;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use data_encoding::BASE64;
use machine_config::generate;
use machine_plan::observed::Probe;
use machine_plan::render::BOOTSTRAP_KUBECONFIG;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::node::endpoint;
use crate::node::kube::{Client, Door, Error};
use crate::testing::control_plane::{ControlPlane, printed};
use crate::testing::external_etcd::{ExternalEtcd, etcdctl};
use crate::testing::{Scratch, within};

const NODE: &str = "cp1";
const JOINING: &str = "system:bootstrappers:kubeadm:default-node-token";

/// Kind, namespace and name to resourceVersion of all that we apply.
fn versions(cluster: &ControlPlane) -> BTreeMap<String, String> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": cluster.desired.objects });
    let seen = cluster.kubectl(&["get", "-f", "-", "-o", "json"], &list.to_string());
    let seen: Value = serde_json::from_str(&printed(seen)).unwrap();
    let version = |object: &Value| {
        let version = object["metadata"]["resourceVersion"].as_str().unwrap();
        (
            machine_plan::action::object_name(object),
            version.to_owned(),
        )
    };
    seen["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(version)
        .collect()
}

#[tokio::test]
async fn every_object_is_applied_and_a_second_time_changes_nothing() {
    let cluster = ControlPlane::start().await;
    let objects = &cluster.desired.objects;
    assert!(objects.len() > 10, "{}", objects.len());
    cluster.kube.apply(&cluster.access, objects).await.unwrap();
    let first = versions(&cluster);
    assert_eq!(first.len(), objects.len());
    cluster.kube.apply(&cluster.access, objects).await.unwrap();
    assert_eq!(versions(&cluster), first);

    // What somebody else changed is ours again.
    let patch = r#"{"data":{"kubeconfig":"mine"}}"#;
    let change = [
        "-n",
        "kube-public",
        "patch",
        "configmap",
        "cluster-info",
        "-p",
        patch,
    ];
    printed(cluster.kubectl(&change, ""));
    cluster.kube.apply(&cluster.access, objects).await.unwrap();
    let show = [
        "-n",
        "kube-public",
        "get",
        "configmap",
        "cluster-info",
        "-o",
        "json",
    ];
    let info: Value = serde_json::from_str(&printed(cluster.kubectl(&show, ""))).unwrap();
    assert_ne!(info["data"]["kubeconfig"], "mine");

    // A refusal names the object and stops what comes after it.
    let map = |name: &str, data: Value| {
        json!({ "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": name, "namespace": "default" }, "data": data })
    };
    let list = [map("bad", json!({ "a key": "" })), map("after", json!({}))];
    let why = cluster
        .kube
        .apply(&cluster.access, &list)
        .await
        .unwrap_err();
    assert!(
        why.to_string()
            .starts_with("cannot apply ConfigMap default/bad: "),
        "{why}"
    );
    let after = cluster.kubectl(&["get", "configmap", "after"], "");
    assert!(!after.status.success());
}

#[tokio::test]
async fn an_api_server_serves_from_an_etcd_of_somebody_else() {
    let scratch = Scratch::new();
    let etcd = ExternalEtcd::start(&scratch);
    let url = etcd.url();
    let cluster = ControlPlane::start_on(Some(etcd)).await;
    assert!(cluster.desired.etcd.is_none() && cluster.desired.etcd_elsewhere);
    let authorities = &cluster.bundle.secrets.as_ref().unwrap();
    assert!(authorities.etcd_ca.is_none(), "nothing here signs for it");
    for (path, mode) in [
        ("/etc/kubernetes/pki/apiserver-etcd-client.key", 0o600),
        ("/etc/kubernetes/pki/etcd/ca.crt", 0o644),
    ] {
        let file = std::fs::metadata(cluster.path(path)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode, "{path}");
    }
    let objects = &cluster.desired.objects;
    cluster.kube.apply(&cluster.access, objects).await.unwrap();
    let shown = cluster.kubectl(
        &["-n", "kube-public", "get", "configmap", "cluster-info"],
        "",
    );
    printed(shown);
    let kept = "/registry/configmaps/kube-public/cluster-info";
    let kept = etcdctl(&scratch, &url, &["get", kept, "--keys-only"]);
    assert!(printed(kept).contains("cluster-info"));
    // What a stock kubeadm join would read of it.
    let shown = [
        "-n",
        "kube-system",
        "get",
        "configmap",
        "kubeadm-config",
        "-o",
        "yaml",
    ];
    let shown = printed(cluster.kubectl(&shown, ""));
    assert!(shown.contains(&format!("- {url}")), "{shown}");
}

#[tokio::test]
async fn a_node_is_marked_and_no_taint_is_lost() {
    let cluster = ControlPlane::start().await;
    let (kube, access) = (&cluster.kube, &cluster.access);
    assert_eq!(kube.node(access, NODE).await, Probe::Absent);
    let why = kube.mark(access, NODE, &[], &[]).await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "cannot mark node cp1: nodes \"cp1\" not found"
    );

    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": NODE, "labels": { "theirs": "stays" } },
        "spec": {
            "taints": [{ "key": "theirs", "effect": "NoExecute" }],
        },
    });
    printed(cluster.kubectl(&["create", "-f", "-"], &node.to_string()));
    let cidrs = cluster.desired.next_pod_cidrs(&[]).unwrap();
    for _ in 0..2 {
        let given = (NODE, cidrs.as_slice());
        kube.assign_pod_cidrs(access, given, NODE).await.unwrap();
    }
    let other = ["10.244.1.0/24".parse().unwrap()];
    let refused = kube.assign_pod_cidrs(access, (NODE, &other), NODE).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("may not change podCIDR"), "{why}");
    let (labels, taints) = (&cluster.desired.node_labels, &cluster.desired.node_taints);
    assert!(!labels.is_empty() && !taints.is_empty());
    for _ in 0..2 {
        kube.mark(access, NODE, labels, taints).await.unwrap();
        let Probe::Seen(seen) = kube.node(access, NODE).await else {
            panic!("the node is there");
        };
        assert_eq!(seen.labels["theirs"], "stays");
        assert!(
            labels
                .iter()
                .all(|(key, value)| seen.labels.get(key) == Some(value))
        );
        assert!(taints.iter().all(|taint| seen.taints.contains(taint)));
        let theirs = |taint: &&(String, String, String)| taint.0 == "theirs";
        assert_eq!(seen.taints.iter().filter(theirs).count(), 1);
        assert_eq!(seen.pod_cidrs, ["10.244.0.0/24".parse().unwrap()]);
        assert!(!seen.ready, "no kubelet says so");
    }

    // Two at once: one is refused, and looks again.
    let taint = |key: String| vec![(key, String::new(), "NoSchedule".to_owned())];
    for round in 0..12 {
        let (one, two) = (taint(format!("one-{round}")), taint(format!("two-{round}")));
        let both = futures_util::join!(
            kube.mark(access, NODE, &[], &one),
            kube.mark(access, NODE, &[], &two)
        );
        both.0.unwrap();
        both.1.unwrap();
    }
    let Probe::Seen(seen) = kube.node(access, NODE).await else {
        panic!("the node is there");
    };
    let put = |taint: &&(String, String, String)| taint.0.contains('-') && !taint.0.contains('/');
    assert_eq!(
        seen.taints.iter().filter(put).count(),
        24,
        "{:?}",
        seen.taints
    );
}

#[tokio::test]
async fn an_api_server_that_is_away_is_a_value() {
    let mut cluster = ControlPlane::start().await;
    // It hangs: the kernel still takes the connection.
    cluster.api_server.signal(Signal::STOP);
    let (kube, access) = (super::super::Kube::default(), cluster.access.clone());
    let probes = async {
        let ready = crate::node::limited(kube.ready(&access));
        let node = crate::node::limited(kube.node(&access, NODE));
        futures_util::join!(ready, node)
    };
    let (ready, node) = within(Duration::from_secs(30), "the probes", probes).await;
    for why in [format!("{ready:?}"), format!("{node:?}")] {
        assert!(why.starts_with("Unreadable"), "{why}");
    }
    cluster.api_server.signal(Signal::CONT);
    let back = async {
        while kube.ready(&access).await != Probe::Seen(()) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    within(Duration::from_secs(60), "ready again", back).await;

    cluster.api_server.kill();
    assert_eq!(kube.ready(&access).await, Probe::Absent);
    let node = kube.node(&access, NODE).await;
    assert!(matches!(&node, Probe::Unreadable(_)), "{node:?}");
    let why = kube
        .apply(&access, &cluster.desired.objects)
        .await
        .unwrap_err();
    assert!(
        why.to_string()
            .starts_with("cannot apply ClusterRoleBinding "),
        "{why}"
    );
    let why = kube.mark(&access, NODE, &[], &[]).await.unwrap_err();
    assert!(
        why.to_string().starts_with("cannot mark node cp1: "),
        "{why}"
    );
}

#[tokio::test]
async fn kubectl_finds_the_rights_that_joining_takes() {
    let cluster = ControlPlane::start().await;
    let objects = &cluster.desired.objects;
    cluster.kube.apply(&cluster.access, objects).await.unwrap();
    rights(&cluster);
    cluster_info(&cluster).await;
    token(&cluster);
}

fn rights(cluster: &ControlPlane) {
    let token = ["--as=system:bootstrap:abcdef", "--as-group", JOINING];
    let node = ["--as=system:node:w1", "--as-group", "system:nodes"];
    let kubelets = ["--as=kube-apiserver-kubelet-client", "--as-group", "none"];
    let csr = "certificatesigningrequests";
    let table: [(&[&str], bool, &[&str]); 14] = [
        (&token, true, &["create", csr]),
        // The controller manager approves by itself what this allows.
        (&token, true, &["create", csr, "--subresource=nodeclient"]),
        (
            &token,
            false,
            &["create", csr, "--subresource=selfnodeclient"],
        ),
        (&token, false, &["update", csr, "--subresource=approval"]),
        (&token, true, &["get", "nodes"]),
        (&token, false, &["list", "nodes"]),
        (
            &token,
            true,
            &["get", "configmap/kubeadm-config", "-n", "kube-system"],
        ),
        (
            &token,
            true,
            &["get", "configmap/kubelet-config-1.20", "-n", "kube-system"],
        ),
        (
            &token,
            true,
            &["get", "secret/kubeadm-certs", "-n", "kube-system"],
        ),
        (&token, false, &["get", "secrets", "-n", "kube-system"]),
        (
            &node,
            true,
            &["create", csr, "--subresource=selfnodeclient"],
        ),
        (&node, false, &["create", csr, "--subresource=nodeclient"]),
        (
            &node,
            true,
            &["get", "configmap/kubeadm-config", "-n", "kube-system"],
        ),
        (&kubelets, true, &["get", "nodes", "--subresource=proxy"]),
    ];
    for (who, expected, what) in table {
        let asked = cluster.kubectl(&[&["auth", "can-i"], what, who].concat(), "");
        let answer = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
        let error = String::from_utf8_lossy(&asked.stderr);
        let expected = if expected { "yes" } else { "no" };
        assert_eq!(answer, expected, "{what:?} as {who:?}: {error}");
    }
}

/// What `kubeadm join` reads before it is anyone. Not by kubectl, which asks for a
/// name and a password rather than being nobody.
async fn cluster_info(cluster: &ControlPlane) {
    let authority = std::fs::read_to_string(cluster.path("/etc/kubernetes/pki/ca.crt")).unwrap();
    let host = cluster.address.to_string();
    let server = format!("https://{host}:6443");
    let nobody = Client::new(Door::new((host.as_str(), 6443), &authority, None).unwrap());
    let get = async |place: &str| {
        let path = format!("/api/v1/namespaces/kube-public/{place}");
        nobody.get::<Value>(&path).await
    };
    let info = get("configmaps/cluster-info").await.unwrap();
    let text = info["data"]["kubeconfig"].as_str().unwrap();
    let found: Value = serde_saphyr::from_str(text).unwrap();
    let found = &found["clusters"][0]["cluster"];
    assert_eq!(
        found["certificate-authority-data"],
        BASE64.encode(authority.as_bytes())
    );
    assert_eq!(found["server"], server);
    for more in ["configmaps", "secrets"] {
        let refused = get(more).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Refused { code: 403, .. }),
            "{more}: {refused}"
        );
    }
}

/// A worker's first request, with the kubeconfig that we write for it.
fn token(cluster: &ControlPlane) {
    let ours = |file: &&machine_plan::files::RenderedFile| file.path == BOOTSTRAP_KUBECONFIG;
    let file = cluster.worker.authorities.iter().find(ours).unwrap();
    cluster.write(file);
    let config = cluster.path(BOOTSTRAP_KUBECONFIG);
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": { "name": "w1" },
        "spec": {
            "request": BASE64.encode(include_bytes!("w1.csr")),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "key encipherment", "client auth"],
        },
    });
    let create = ["create", "-f", "-", "-o", "json"];
    let made = cluster.with_config(&config, &create, &request.to_string());
    let made: Value = serde_json::from_str(&printed(made)).unwrap();
    let name = made["spec"]["username"].as_str().unwrap();
    assert!(name.starts_with("system:bootstrap:"), "{name}");
    let groups = made["spec"]["groups"].as_array().unwrap();
    assert!(groups.contains(&JOINING.into()), "{groups:?}");

    // One letter of the token changed: nobody.
    let text = std::fs::read_to_string(&config).unwrap();
    let at = text.find("token: ").unwrap() + "token: ".len();
    let token = text[at..].lines().next().unwrap();
    let other = if token.ends_with('0') { '1' } else { '0' };
    let wrong = format!("--token={}{other}", &token[..token.len() - 1]);
    let refused = cluster.stranger(&[&wrong, "get", "nodes"], "");
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("Unauthorized"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_has_begun_answers_whoever_shares_its_authority() {
    let mut cluster = ControlPlane::start().await;
    let config = cluster.bundle.config.clone();
    let ours = cluster.bundle.secrets.clone().unwrap();
    let foreign = generate::secrets(std::time::SystemTime::now()).unwrap();
    let foreign = machine_config::read_secrets(foreign.expose().as_bytes()).unwrap();
    assert!(endpoint::answers(&config, &ours).await);
    assert!(!endpoint::answers(&config, &foreign).await);
    cluster.api_server.signal(Signal::STOP);
    assert!(!endpoint::answers(&config, &ours).await);
    cluster.api_server.signal(Signal::CONT);
    cluster.api_server.kill();
    assert!(!endpoint::answers(&config, &ours).await);
}
