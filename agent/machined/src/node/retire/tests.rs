mod real;

use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::testing::api_server::ApiServer;

#[test]
fn a_lease_is_this_machines_by_its_whole_name() {
    assert!(is_of("cp1_b2f0", "cp1"));
    for other in ["cp2_b2f0", "cp10_b2f0", "cp1", ""] {
        assert!(!is_of(other, "cp1"), "{other}");
    }
}

#[tokio::test]
async fn who_listens_is_told_from_who_does_not() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(listens(port).await);
    drop(listener);
    assert!(!listens(port).await);
}

#[tokio::test]
async fn every_lease_is_tried_and_only_what_failed_is_an_error() {
    // Reading the first fails; the second is another's by the time it is given up.
    let asked = std::sync::Arc::new(Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&asked);
    let api = ApiServer::start(move |asked| {
        let name = asked.path.rsplit('/').next().unwrap_or_default().to_owned();
        heard.lock().unwrap().push(format!("{} {name}", asked.method));
        match (asked.method.as_str(), name.as_str()) {
            ("GET", "kube-scheduler") => (
                200,
                json!({ "metadata": { "resourceVersion": "7" }, "spec": { "holderIdentity": "cp1_a" } }),
            ),
            ("PATCH", _) => (409, json!({ "message": "changed" })),
            _ => (500, json!({ "message": "no etcd" })),
        }
    })
    .await;
    let error = give_leases_up(Ok(api.client()), "cp1").await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("cannot give up lease kube-controller-manager: ")
            && said.contains("no etcd"),
        "{said}"
    );
    assert_eq!(
        *asked.lock().unwrap(),
        [
            "GET kube-controller-manager",
            "GET kube-scheduler",
            "PATCH kube-scheduler"
        ]
    );
}
