//! See `just adapters`.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use super::super::{call_off, drain, node_path};
use crate::node::kube::{Client, Error, NODES, Node, Patch, Pod};
use crate::testing::control_plane::{ControlPlane, printed};

/// A node that takes pods. Without a controller manager nobody else takes the taint away that every new
/// one gets.
async fn node(client: &Client, name: &str) {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
    client.post(NODES, &node).await.unwrap();
    let path = node_path(name);
    let untainted = json!({ "spec": { "taints": null } });
    client.patch(&path, Patch::Merge, &untainted).await.unwrap();
    let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    let status = format!("{path}/status");
    client.patch(&status, Patch::Merge, &ready).await.unwrap();
}

#[tokio::test]
async fn a_pod_is_evicted_and_its_budget_is_respected() {
    let cluster = ControlPlane::start().await;
    let client = cluster.kube.client(&cluster.access).unwrap();
    for name in ["cp1", "w1"] {
        node(&client, name).await;
    }
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "default", "namespace": "default" } });
    let pod = |name: &str| {
        json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "default", "labels": { "is": name } },
            "spec": {
                "nodeName": "cp1", "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "containers": [{ "name": "main", "image": "none" }],
            },
        })
    };
    let budget = json!({ "apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget",
        "metadata": { "name": "held", "namespace": "default" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "is": "held" } } },
    });
    let items = json!([account, pod("free"), pod("held"), budget]);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    printed(cluster.kubectl(&["create", "-f", "-"], &list.to_string()));
    // A pod that does not run yet may go whatever its budget says.
    for name in ["free", "held"] {
        let path = format!("/api/v1/namespaces/default/pods/{name}/status");
        let runs = json!({ "status": { "phase": "Running" } });
        client.patch(&path, Patch::Merge, &runs).await.unwrap();
    }

    let told = Mutex::new(Vec::new());
    let tell = |message| told.lock().unwrap().push(message);
    let limit = Duration::from_secs(10);
    drain(async { Ok(client.clone()) }, "cp1", limit, &tell).await;
    let said: Vec<String> = told.into_inner().unwrap();
    assert!(
        said[1].starts_with("cannot evict default/held: "),
        "{said:?}"
    );
    assert_eq!(
        said.last().unwrap(),
        "its 10 s are over; still here: default/held"
    );
    let gone = client.get::<Pod>("/api/v1/namespaces/default/pods/free");
    let Err(Error::Refused { code: 404, .. }) = gone.await else {
        panic!("the pod that may leave is still there: {said:?}")
    };
    // A person's cordon is not this machine's to take back.
    let by_hand = json!({ "spec": { "unschedulable": true } });
    let patched = client.patch(&node_path("w1"), Patch::Merge, &by_hand).await;
    patched.unwrap();
    for after in [true, false] {
        for (name, cordoned) in [("cp1", after), ("w1", true)] {
            let node = client.get::<Node>(&node_path(name)).await.unwrap();
            assert_eq!(node.spec.unschedulable, cordoned, "{name}");
            call_off(Ok(client.clone()), name).await.unwrap();
        }
    }
}
