use std::time::{Duration, UNIX_EPOCH};

use super::*;

const TOKEN: &str = "abcdef.0123456789abcdef";

fn made(usages: &[&str], groups: &[&str]) -> Result<BootstrapToken, TokenFault> {
    let words = |list: &[&str]| {
        list.iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let token = Secret::new(TOKEN.to_owned());
    BootstrapToken::new(token, None, String::new(), &words(usages), words(groups))
}

/// By name.
fn data(token: &BootstrapToken) -> Vec<(String, String)> {
    let object = token.object();
    let data = object["data"].as_object().unwrap();
    let text = |value: &Value| {
        let bytes = BASE64.decode(value.as_str().unwrap().as_bytes()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let mut data: Vec<_> = data
        .iter()
        .map(|(key, value)| (key.clone(), text(value)))
        .collect();
    data.sort();
    data
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    list.iter().map(owned).collect()
}

#[test]
fn one_without_wishes_is_for_nodes_that_join() {
    let token = made(&[], &[]).unwrap();
    assert_eq!(token.id(), "abcdef");
    assert_eq!(token.object()["metadata"]["name"], "bootstrap-token-abcdef");
    let expected = pairs(&[
        ("auth-extra-groups", JOINING_NODES),
        ("token-id", "abcdef"),
        ("token-secret", "0123456789abcdef"),
        ("usage-bootstrap-authentication", "true"),
        ("usage-bootstrap-signing", "true"),
    ]);
    assert_eq!(data(&token), expected);
}

#[test]
fn wishes_are_in_the_secret_and_the_secret_is_in_no_text() {
    let token = BootstrapToken::new(
        Secret::new(TOKEN.to_owned()),
        Some(UNIX_EPOCH + Duration::from_millis(1_795_219_200_900)),
        "for rack 4".to_owned(),
        &["signing".to_owned()],
        Vec::new(),
    )
    .unwrap();
    let expected = pairs(&[
        ("description", "for rack 4"),
        ("expiration", "2026-11-21T00:00:00Z"),
        ("token-id", "abcdef"),
        ("token-secret", "0123456789abcdef"),
        ("usage-bootstrap-signing", "true"),
    ]);
    assert_eq!(data(&token), expected);
    assert!(!format!("{token:?}").contains("0123456789abcdef"));
}

#[test]
fn what_the_api_server_would_not_take_is_refused_and_not_repeated() {
    for bad in [
        "",
        "abcdef",
        "abcdef.0123456789abcde",
        "ABCDEF.0123456789abcdef",
        "abcdef.0123456789abcdef.a",
        "abcdé.0123456789abcdef",
    ] {
        let token = Secret::new(bad.to_owned());
        let refused = BootstrapToken::new(token, None, String::new(), &[], Vec::new());
        assert_eq!(refused, Err(TokenFault::Shape), "{bad}");
    }
    assert_eq!(made(&["signing", TOKEN], &[]), Err(TokenFault::Usage));
    for bad in [
        "system:masters",
        "system:bootstrappers:",
        "system:bootstrappers:a-",
        "system:bootstrappers:A",
        "system:bootstrappers:a,b",
    ] {
        let refused = made(&[], &["system:bootstrappers:a", bad]);
        assert_eq!(refused, Err(TokenFault::Group(1)), "{bad}");
    }
    assert!(made(&[], &[&format!("system:bootstrappers:{}", "a".repeat(256))]).is_ok());
    assert!(made(&[], &[&format!("system:bootstrappers:{}", "a".repeat(257))]).is_err());
    let idle = made(&["signing"], &["system:bootstrappers:a"]);
    assert_eq!(idle, Err(TokenFault::IdleGroups));
    for bad in ["two\nlines".to_owned(), "x".repeat(257)] {
        let token = Secret::new(TOKEN.to_owned());
        let refused = BootstrapToken::new(token, None, bad, &[], Vec::new());
        assert_eq!(refused, Err(TokenFault::Description));
    }
    let all = [
        TokenFault::Shape,
        TokenFault::Usage,
        TokenFault::Group(0),
        TokenFault::IdleGroups,
        TokenFault::Description,
    ];
    assert!(
        all.iter()
            .all(|fault| !fault.to_string().contains("0123456789abcdef"))
    );
}
