mod real;

use std::sync::Mutex;

use serde_json::Value;

use super::*;
use crate::testing::api_server::ApiServer;

fn pod(change: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}});
    merge(&mut pod, change);
    pod
}

fn node(name: &str, change: Value) -> Value {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let mut node = json!({"metadata": {"name": name}, "spec": {}, "status": {"conditions": ready}});
    merge(&mut node, change);
    node
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

#[test]
fn pods_that_belong_to_the_node_stay() {
    let leaves = |pod| leaves(&serde_json::from_value(pod).unwrap());
    assert!(leaves(pod(json!({}))));
    for stays in [
        json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
        json!({"metadata": {"ownerReferences": [
            {"kind": "DaemonSet", "name": "d", "apiVersion": "apps/v1", "uid": "u"}]}}),
        json!({"status": {"phase": "Succeeded"}}),
    ] {
        assert!(!leaves(pod(stays.clone())), "{stays}");
    }
}

#[test]
fn only_a_ready_schedulable_node_is_somewhere_to_go() {
    let takes_pods = |node| takes_pods(&serde_json::from_value(node).unwrap());
    assert!(takes_pods(node("a", json!({}))));
    for not in [
        json!({"spec": {"unschedulable": true}}),
        json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
        json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}),
    ] {
        assert!(!takes_pods(node("a", not.clone())), "{not}");
    }
}

#[test]
fn only_an_earlier_runs_cordon_is_taken_back() {
    let marked = |boot: &str| BTreeMap::from([(MARK.to_owned(), boot.to_owned())]);
    assert!(cordoned_before(&marked("an earlier one")));
    assert!(!cordoned_before(&marked(&boot::run_id())));
    assert!(!cordoned_before(&BTreeMap::new()));
}

async fn told(
    client: impl Future<Output = Result<Client, String>>,
    limit: Duration,
) -> Vec<String> {
    let told = Mutex::new(Vec::new());
    let tell = |message| told.lock().unwrap().push(message);
    drain(client, "cp1", limit, &tell).await;
    told.into_inner().unwrap()
}

#[tokio::test]
async fn an_api_that_is_away_or_silent_holds_nothing_up() {
    let away = async { Err("/etc/kubernetes/admin.conf: not there".to_owned()) };
    let said = told(away, Duration::from_secs(60)).await;
    assert_eq!(said, ["left out: /etc/kubernetes/admin.conf: not there"]);
    let said = told(std::future::pending(), Duration::from_secs(1)).await;
    assert!(said[0].contains("1 s are over"), "{said:?}");
}

// An API server of a few answers.
async fn api(nodes: Vec<Value>, pods: Vec<Vec<Value>>) -> ApiServer {
    let pods = Mutex::new(pods);
    ApiServer::start(move |asked| {
        let list = |items: Value| (200, json!({"metadata": {}, "items": items}));
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/api/v1/nodes") => list(json!(nodes)),
            ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dcp1") => {
                let mut pods = pods.lock().unwrap();
                let now = if pods.len() > 1 {
                    pods.remove(0)
                } else {
                    pods[0].clone()
                };
                list(json!(now))
            }
            ("PATCH", _) => (200, nodes[0].clone()),
            ("GET", "/api/v1") => (
                200,
                json!({"resources": [{"name": "pods/eviction",
                "kind": "Eviction", "namespaced": true, "group": "policy", "version": "v7"}]}),
            ),
            // Its budget holds this one back.
            ("POST", "/api/v1/namespaces/n/pods/held/eviction") => {
                (429, json!({"message": "it would violate the budget"}))
            }
            _ => (
                201,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
            ),
        }
    })
    .await
}

#[tokio::test]
async fn pods_are_evicted_until_none_is_left() {
    let nodes = vec![node("cp1", json!({})), node("w1", json!({}))];
    let api = api(
        nodes,
        vec![vec![pod(json!({}))], vec![pod(json!({}))], vec![]],
    )
    .await;
    let said = told(async { Ok(api.client()) }, Duration::from_secs(60)).await;
    assert_eq!(
        said,
        [
            "1 pods have to leave: n/p",
            "no pods left",
            "done: the pods have left"
        ]
    );
    let asked = api.asked();
    assert_eq!(asked[1], "PATCH /api/v1/nodes/cp1");
    let evicted = "POST /api/v1/namespaces/n/pods/p/eviction";
    assert_eq!(asked.iter().filter(|a| *a == evicted).count(), 2);
}

#[tokio::test]
async fn a_pod_that_stays_is_named_at_the_deadline() {
    let nodes = vec![node("cp1", json!({})), node("w1", json!({}))];
    let api = api(nodes, vec![vec![pod(json!({}))]]).await;
    let said = told(async { Ok(api.client()) }, Duration::from_secs(2)).await;
    assert_eq!(said.last().unwrap(), "its 2 s are over; still here: n/p");
}

#[tokio::test]
async fn why_a_pod_may_not_leave_is_said_once() {
    let nodes = vec![node("cp1", json!({})), node("w1", json!({}))];
    let held = vec![pod(json!({"metadata": {"name": "held"}}))];
    let api = api(nodes, vec![held.clone(), held, vec![]]).await;
    let said = told(async { Ok(api.client()) }, Duration::from_secs(60)).await;
    assert_eq!(
        said,
        [
            "1 pods have to leave: n/held",
            "cannot evict n/held: it would violate the budget",
            "no pods left",
            "done: the pods have left"
        ]
    );
}

#[tokio::test]
async fn a_lone_node_is_not_cordoned() {
    let api = api(vec![node("cp1", json!({}))], vec![vec![]]).await;
    let said = told(async { Ok(api.client()) }, Duration::from_secs(60)).await;
    assert_eq!(said, ["left out: no other node is ready to take the pods"]);
    assert_eq!(api.asked().len(), 1);
}
