use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::*;
use crate::node::kube::resource::Resources;
use crate::testing::api_server::ApiServer;
use crate::testing::within;

fn status(code: u16, message: &str) -> (u16, Value) {
    let status = json!({ "kind": "Status", "status": "Failure", "message": message, "code": code });
    (code, status)
}

#[tokio::test]
async fn one_connection_serves_one_question_after_another() {
    let api = ApiServer::start(|asked| (200, json!({ "path": asked.path }))).await;
    let client = api.client();
    for number in 0..5 {
        let path = format!("/api/v1/nodes?n={number}");
        let said: Value = client.get(&path).await.unwrap();
        assert_eq!(said["path"], path);
    }
    assert_eq!(api.connections(), 1);
    let at_once = (0..10).map(|_| client.check("/readyz"));
    let all = futures_util::future::join_all(at_once).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let kept = client.0.idle.lock().unwrap().len();
    assert!(kept <= MOST_IDLE, "{kept}");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_no_error() {
    let api = ApiServer::start_with(|_| (200, stream::iter([Bytes::from("{}")]).boxed()));
    let api = api.await;
    let client = api.client();
    client.check("/").await.unwrap();
    api.hang_up();
    // Whether its end has been noticed by now or not.
    client.check("/").await.unwrap();
    assert_eq!(api.connections(), 2);
}

#[tokio::test]
async fn what_is_refused_says_why_and_where_nobody_is_it_is_known() {
    let api = ApiServer::start(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/api/v1/nodes/a%2Fb") => status(404, "nodes \"a/b\" not found"),
        _ => (500, json!("[-]etcd failed")),
    })
    .await;
    let client = api.client();
    let path = format!("/api/v1/nodes/{}", escaped("a/b"));
    let why = client.get::<Value>(&path).await.unwrap_err();
    assert!(matches!(why, Error::Refused { code: 404, .. }), "{why:?}");
    assert_eq!(why.to_string(), "nodes \"a/b\" not found");
    let why = client.check("/readyz").await.unwrap_err();
    assert_eq!(why.to_string(), "\"[-]etcd failed\"");
    assert!(!why.nobody_listens());

    let stranger = api.client_with(None);
    let why = stranger.check("/readyz").await.unwrap_err();
    assert!(!matches!(why, Error::Refused { .. }), "{why:?}");

    api.stop();
    let gone = async {
        loop {
            match api.client().check("/readyz").await {
                Err(why) if why.nobody_listens() => break,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    within(Duration::from_secs(20), "nobody listens", gone).await;
}

#[tokio::test]
async fn a_watch_reads_lines_however_they_come_and_ends_with_the_connection() {
    let parts = [
        "{\"type\":\"ADDED\",\"obj",
        "ect\":1}\n{\"type\":\"MODIFIED\",",
        "\"object\":2}\n",
    ];
    let api = ApiServer::start_with(move |asked| {
        let path = &asked.path;
        assert!(
            path.starts_with("/api/v1/nodes?watch=true&resourceVersion=7&"),
            "{path}"
        );
        let parts = stream::iter(parts.map(Bytes::from)).then(async |part| {
            // As parts of their own.
            tokio::time::sleep(Duration::from_millis(20)).await;
            part
        });
        (200, parts.chain(stream::pending()).boxed())
    })
    .await;
    let client = api.client();
    let mut watch = std::pin::pin!(client.watch::<u32>("/api/v1/nodes", "7").await.unwrap());
    for (kind, object) in [("ADDED", 1), ("MODIFIED", 2)] {
        let event = within(Duration::from_secs(10), "an event", watch.next()).await;
        let event = event.unwrap();
        assert_eq!((event.kind.as_str(), event.object), (kind, object));
    }
    api.hang_up();
    let end = within(Duration::from_secs(10), "the end", watch.next()).await;
    assert!(end.is_none(), "{end:?}");
}

#[tokio::test]
async fn a_refused_watch_says_why() {
    let api = ApiServer::start(|_| status(410, "too old")).await;
    let why = api
        .client()
        .watch::<Value>("/api/v1/nodes", "7")
        .await
        .err();
    assert_eq!(why.unwrap().to_string(), "too old");
}

#[tokio::test]
async fn patches_say_what_they_are() {
    let asked = std::sync::Arc::new(Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&asked);
    let api = ApiServer::start(move |asked| {
        let body = String::from_utf8(asked.body.to_vec()).unwrap();
        log.lock().unwrap().push(format!("{} {body}", asked.kind));
        (200, json!({}))
    })
    .await;
    let client = api.client();
    let body = json!({ "spec": null });
    for patch in [Patch::Apply, Patch::Merge] {
        client.patch("/api/v1/nodes/a", patch, &body).await.unwrap();
    }
    let expected = [
        "application/apply-patch+yaml {\"spec\":null}",
        "application/merge-patch+json {\"spec\":null}",
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_api_server_says_where_objects_are() {
    let api = ApiServer::start(|asked| {
        let resource = |name: &str, kind: &str, namespaced: bool| {
            json!({ "name": name, "kind": kind, "namespaced": namespaced })
        };
        let resources = match asked.path.as_str() {
            "/api/v1" => json!([
                resource("nodes", "Node", false),
                resource("pods/status", "Pod", true),
                resource("pods", "Pod", true),
            ]),
            "/apis/example.org/v1" => json!([resource("oxen", "Ox", true)]),
            _ => return status(404, "the server could not find the requested resource"),
        };
        (200, json!({ "resources": resources }))
    })
    .await;
    let (client, mut resources) = (api.client(), Resources::default());
    let object = |version: &str, kind: &str, namespace: Option<&str>| {
        let metadata = json!({ "name": "system:a", "namespace": namespace });
        json!({ "apiVersion": version, "kind": kind, "metadata": metadata })
    };
    for (object, path) in [
        (object("v1", "Node", None), "/api/v1/nodes/system:a"),
        (
            object("v1", "Pod", Some("n")),
            "/api/v1/namespaces/n/pods/system:a",
        ),
        (
            object("example.org/v1", "Ox", None),
            "/apis/example.org/v1/namespaces/default/oxen/system:a",
        ),
    ] {
        assert_eq!(resources.path(&client, &object).await.unwrap(), path);
    }
    assert_eq!(
        api.asked().len(),
        2,
        "once for each group: {:?}",
        api.asked()
    );
    for (version, kind) in [("v1", "Ox"), ("example.org/v2", "Ox")] {
        let why = resources.path(&client, &object(version, kind, None)).await;
        let expected = format!("the cluster knows no kind {kind} in {version}");
        assert_eq!(why.unwrap_err().to_string(), expected);
    }
    // Asked about again: it may have been defined since.
    assert_eq!(api.asked().len(), 4, "{:?}", api.asked());
}
