use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::testing::api_server::ApiServer;
use crate::testing::within;

const RIGHT: &[u8] = include_bytes!("../tests/real/serving/right.csr");

fn csr(name: &str, request: &str, conditions: Value) -> Value {
    json!({
        "metadata": {
            "name": name, "uid": format!("uid of {name}"), "resourceVersion": "7",
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": {
            "signerName": SIGNER, "request": request, "usages": ["server auth"],
            "username": "system:node:w1", "groups": ["system:nodes"],
        },
        "status": { "conditions": conditions },
    })
}

fn condition(kind: &str) -> Value {
    json!([{ "type": kind, "status": "True" }])
}

#[test]
fn only_what_nobody_has_decided_on_is_open() {
    let open = |value: Value| Csr::deserialize(value).unwrap().is_open();
    assert!(open(csr("a", "", json!([]))));
    for kind in ["Approved", "Denied", "Failed"] {
        assert!(!open(csr("a", "", condition(kind))), "{kind}");
    }
    let mut issued = csr("a", "", json!([]));
    issued["status"]["certificate"] = "LS0t".into();
    assert!(!open(issued));
    let mut other = csr("a", "", json!([]));
    other["spec"]["signerName"] = "kubernetes.io/kube-apiserver-client-kubelet".into();
    assert!(!open(other));
}

#[test]
fn what_a_request_asks_is_read_or_it_is_said_why_not() {
    let seen = |request: &str| {
        let csr = csr("a", request, json!([]));
        Csr::deserialize(csr).unwrap().seen()
    };
    let right = seen(&BASE64.encode(RIGHT));
    assert_eq!((&*right.uid, right.made), ("uid of a", 1_767_323_045));
    let asks = right.asks.seen().unwrap();
    assert_eq!(asks.common_names, ["system:node:w1"]);
    let long = BASE64.encode(&[b'x'; LONGEST]);
    for (request, expected) in [
        ("", "parse certificate request: "),
        ("%", "it is no text in base64"),
        (&BASE64.encode(&[0xff]), "it is no text in base64"),
        (&BASE64.encode(b"x"), "parse certificate request: "),
        (&long, "it is longer than"),
    ] {
        match seen(request).asks {
            Probe::Unreadable(why) => assert!(why.starts_with(expected), "{why}"),
            other => panic!("{request}: {other:?}"),
        }
    }
}

#[test]
fn what_was_said_is_remembered_while_there_is_something_left() {
    let told = Told::default();
    let one = ServingRequest {
        username: "alice".to_owned(),
        ..ServingRequest::default()
    };
    told.note("alice", "why");
    told.note("bob", "why");
    assert_eq!(told.of(&Probe::Absent).len(), 2);
    let left = told.of(&Probe::Seen(vec![one]));
    assert_eq!(left.keys().collect::<Vec<_>>(), ["alice"]);
    assert_eq!(told.of(&Probe::Seen(Vec::new())).len(), 0);
}

#[tokio::test]
async fn a_look_takes_open_requests_from_the_watch() {
    let list = json!({
        "metadata": { "resourceVersion": "3" },
        "items": [csr("a", "", json!([])), csr("done", "", condition("Approved"))],
    });
    let event = |kind: &str, object: Value| {
        let event = json!({ "type": kind, "object": object });
        Bytes::from(format!("{event}\n"))
    };
    let events = [
        event("ADDED", csr("b", "", json!([]))),
        event("MODIFIED", csr("a", "", condition("Denied"))),
        // No news: not open before, and not now.
        event("MODIFIED", csr("done", "", condition("Approved"))),
        event("DELETED", csr("b", "", json!([]))),
    ];
    let api = ApiServer::start_with(move |asked| {
        let of = "fieldSelector=spec.signerName%3Dkubernetes.io%2Fkubelet-serving&";
        assert!(
            asked.path.starts_with(&format!("{REQUESTS}?{of}")),
            "{}",
            asked.path
        );
        match asked.path.contains("watch=true") {
            true => (200, stream::iter(events.clone()).boxed()),
            false => (200, stream::iter([Bytes::from(list.to_string())]).boxed()),
        }
    })
    .await;
    let known = Watched::default();
    let names = || {
        let all: Option<Vec<ServingRequest>> = known.all();
        all.map(|all| all.into_iter().map(|one| one.name).collect::<Vec<_>>())
    };
    assert_eq!(names(), None);
    {
        let client = api.client();
        let mut news = std::pin::pin!(changes(&client, &known).await.unwrap());
        for expected in [&["a"][..], &["a", "b"], &["b"], &[]] {
            let one = within(Duration::from_secs(10), "news", news.next()).await;
            assert_eq!(one, Some(()));
            assert_eq!(names().unwrap(), expected);
        }
        let end = within(Duration::from_secs(10), "the end", news.next()).await;
        assert_eq!(end, None);
    }
    assert_eq!(names(), None, "nobody watches any more");
    assert_eq!(api.asked().len(), 2);
}

/// What comes of approving `a`, where the API server has this and answers the change so; and how many
/// changes were asked for.
async fn approving(there: (u16, Value), change: u16) -> (Result<bool, Error>, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let api = ApiServer::start(move |asked| match asked.method.as_str() {
        "GET" => there.clone(),
        _ => {
            assert_eq!(asked.path, format!("{REQUESTS}/a/approval"));
            counted.fetch_add(1, Ordering::SeqCst);
            let patch: Value = serde_json::from_slice(&asked.body).unwrap();
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
            assert_eq!(patch["status"]["conditions"][1]["type"], "Approved");
            (change, json!({ "kind": "Status", "message": "no" }))
        }
    })
    .await;
    let done = approve(&api.client(), ("a", "uid of a"), "w1").await;
    (done, count.load(Ordering::SeqCst))
}

#[tokio::test]
async fn an_approval_is_of_the_request_that_was_judged() {
    let open = || csr("a", "", condition("Theirs"));
    let mut anew = open();
    anew["metadata"]["uid"] = "another".into();
    let decided = csr("a", "", condition("Denied"));
    let gone = json!({ "kind": "Status", "message": "not found" });
    for (there, change, expected, changes) in [
        ((200, open()), 200, true, 1),
        ((200, open()), 409, false, 1),
        ((200, open()), 404, true, 1),
        ((200, decided), 200, true, 0),
        ((200, anew), 200, false, 0),
        ((404, gone), 200, true, 0),
    ] {
        let (done, count) = approving(there.clone(), change).await;
        assert_eq!((done.unwrap(), count), (expected, changes), "{there:?}");
    }
    let (refused, _) = approving((200, open()), 403).await;
    assert_eq!(refused.unwrap_err().to_string(), "no");
}
