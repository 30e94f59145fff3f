use serde_json::Value;

use super::*;
use crate::testing::api_server::ApiServer;

/// What becomes of it where these nodes are there, and a change is answered in this way.
async fn tried(nodes: Value, patched: (u16, Value)) -> Result<Option<String>, String> {
    let api = ApiServer::start(move |asked| match asked.method.as_str() {
        "GET" => (200, json!({ "items": nodes })),
        _ => patched.clone(),
    })
    .await;
    let cidrs = ["10.244.1.0/24".parse().unwrap()];
    given(&api.client(), ("cp2", &cidrs), Instant::now() + SURE).await
}

#[tokio::test]
async fn nobody_is_given_what_another_has_by_now() {
    let node = |name: &str, cidr: &str| json!({ "metadata": { "name": name }, "spec": { "podCIDR": cidr, "podCIDRs": [cidr] } });
    let done = (200, json!({}));
    for (nodes, said) in [
        (json!([node("cp1", "10.244.0.0/24")]), None),
        // Its own is given once more.
        (json!([node("cp2", "10.244.1.0/24")]), None),
        (
            json!([node("cp3", "10.244.1.0/25")]),
            Some("node cp3 has one of them by now"),
        ),
    ] {
        let said = said.map(str::to_owned);
        assert_eq!(tried(nodes, done.clone()).await, Ok(said));
    }
    // Refused is certain; an error of the API server's own is not.
    let no = |code| (code, json!({ "message": "no" }));
    assert_eq!(tried(json!([]), no(422)).await, Ok(Some("no".to_owned())));
    assert_eq!(tried(json!([]), no(504)).await, Err("no".to_owned()));
}
