use std::sync::{Arc, Mutex};

use super::*;
use crate::testing::api_server::ApiServer;

#[test]
fn only_a_lease_of_this_machine_is_given_up_and_only_as_seen() {
    let lease = |holder: &str| json!({ "metadata": { "resourceVersion": "7" }, "spec": { "holderIdentity": holder } });
    let ours = |holder: &str| holder == "cp1_b2f0";
    let patch = given_up(&lease("cp1_b2f0"), ours).unwrap();
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    assert_eq!(patch["spec"]["holderIdentity"], Value::Null);
    for other in ["cp2_b2f0", "cp10_b2f0", "cp1", ""] {
        assert_eq!(given_up(&lease(other), ours), None, "{other}");
    }
    assert_eq!(given_up(&json!({ "spec": {} }), ours), None);
}

/// What is asked where a lease has this holder, and what taking it says.
async fn taken(holder: Option<&'static str>) -> (Result<(), String>, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let api = ApiServer::start(move |asked| {
        let place = asked.path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut heard = heard.lock().unwrap();
        let again = heard.contains(&format!("POST {place}"));
        heard.push(format!("{} {place}", asked.method));
        let not_found = (404, json!({ "message": "not found" }));
        match (asked.method.as_str(), place.as_str(), holder) {
            ("GET", _, None) => not_found,
            // There is no namespace at first.
            ("POST", "leases", _) if !again => not_found,
            ("GET", _, Some(holder)) => (
                200,
                json!({ "metadata": { "resourceVersion": "7" }, "spec": { "holderIdentity": holder } }),
            ),
            _ => (200, json!({})),
        }
    })
    .await;
    let taken = take(&api.client(), "kube-controller-manager", "cp1").await;
    let asked = asked.lock().unwrap().clone();
    (taken, asked)
}

#[tokio::test]
async fn a_lease_is_taken_from_nobody() {
    let get = "GET kube-controller-manager";
    let patch = "PATCH kube-controller-manager";
    let made = [get, "POST leases", "POST namespaces", "POST leases"];
    assert_eq!(
        taken(None).await,
        (Ok(()), made.map(str::to_owned).to_vec())
    );
    for free in ["", "cp1_machined"] {
        let asked = vec![get.to_owned(), patch.to_owned()];
        assert_eq!(taken(Some(free)).await, (Ok(()), asked), "{free}");
    }
    for other in ["cp1_b2f0", "cp2_machined"] {
        let why = format!("{other} has the lease kube-controller-manager");
        assert_eq!(taken(Some(other)).await, (Err(why), vec![get.to_owned()]));
    }
}
