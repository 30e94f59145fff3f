mod real;

use machine_plan::render::BootstrapToken;
use serde_json::json;

use super::*;
use crate::testing::api_server::ApiServer;

fn token(text: &str) -> BootstrapToken {
    let secret = Secret::new(text.to_owned());
    BootstrapToken::new(secret, None, "for rack 4".to_owned(), &[], Vec::new()).unwrap()
}

fn refused(code: u16) -> (u16, Value) {
    (
        code,
        json!({ "kind": "Status", "message": "no", "code": code }),
    )
}

#[tokio::test]
async fn the_same_token_again_is_no_other() {
    let ours = token("abcdef.0123456789abcdef").object();
    let there = ours.clone();
    let api = ApiServer::start(move |asked| match (&*asked.method, &*asked.path) {
        ("POST", SECRETS) => refused(409),
        ("GET", "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef") => {
            (200, there.clone())
        }
        _ => refused(500),
    })
    .await;
    let client = api.client();
    create(&client, "abcdef", &ours).await.unwrap();
    let other = token("abcdef.0123456789abcdee").object();
    let why = create(&client, "abcdef", &other).await.unwrap_err();
    assert_eq!(why, TokenError::Exists("abcdef".to_owned()));
    let why = create(
        &client,
        "abcdeg",
        &token("abcdeg.0123456789abcdef").object(),
    )
    .await;
    assert_eq!(why.unwrap_err().to_string(), "cannot make token abcdeg: no");
}

#[tokio::test]
async fn a_list_says_what_is_wrong_and_no_secret() {
    let with = |key: &str, value: &str, name: &str| {
        let mut secret = token("abcdef.0123456789abcdef").object();
        secret["data"][key] = BASE64.encode(value.as_bytes()).into();
        secret["metadata"]["name"] = name.into();
        secret
    };
    let right = "bootstrap-token-abcdef";
    let items = json!([
        with("expiration", "2999-01-01T00:00:00Z", right),
        with("expiration", "2001-01-01T02:00:00+02:00", right),
        with("expiration", "tomorrow", right),
        with("usage-bootstrap-signing", "false", "bootstrap-token-other"),
    ]);
    let api = ApiServer::start(move |asked| {
        assert!(
            asked
                .path
                .ends_with("?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken")
        );
        (200, json!({ "items": items }))
    })
    .await;
    let found = list(&api.client()).await.unwrap();
    let seen: Vec<_> = found.iter().map(|t| (t.expires_ms, &*t.problem)).collect();
    let expected = [
        (Some(32_472_144_000_000), ""),
        (Some(978_307_200_000), "it has expired"),
        (None, "its expiration is no time"),
        (
            None,
            "its Secret bootstrap-token-other is not named after its id",
        ),
    ];
    assert_eq!(seen, expected);
    assert_eq!(found[3].usages, ["authentication"]);
    assert_eq!(
        found[0].groups,
        ["system:bootstrappers:kubeadm:default-node-token"]
    );
    assert!(!format!("{found:?}").contains("0123456789abcdef"));
}

#[tokio::test]
async fn what_is_not_there_cannot_be_deleted() {
    let api = ApiServer::start(|asked| match (&*asked.method, &*asked.path) {
        ("DELETE", "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef") => {
            (200, json!({ "kind": "Status", "status": "Success" }))
        }
        _ => refused(404),
    })
    .await;
    delete(&api.client(), "abcdef").await.unwrap();
    let why = delete(&api.client(), "abcdeg").await.unwrap_err();
    assert_eq!(why, TokenError::Unknown("abcdeg".to_owned()));
}
