//! Single values: what each type takes, what it says to the rest.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use machine_config::{Endpoint, Hostname, KubernetesVersion, San};

#[test]
fn hostnames() {
    for text in ["a", "cp1", "1", "node-7.rack-2.example", &"a".repeat(63)] {
        assert_eq!(text.parse::<Hostname>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "CP1",
        "a_b",
        "-a",
        "a-",
        "a..b",
        ".a",
        "a.",
        "10.0.0.1",
        "localhost",
        "é",
        &"a".repeat(64),
    ] {
        assert!(text.parse::<Hostname>().is_err(), "{text:?}");
    }
}

#[test]
fn versions() {
    for text in ["v1.20.0", "v1.20.2", "v1.37.0", "v1.36.11"] {
        assert_eq!(text.parse::<KubernetesVersion>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "v",
        "1.20.2",
        "v1.19.16",
        "v1.38.0",
        "v2.20.0",
        "v1.20",
        "v1.20.2.1",
        "v1.20.2-rc.1",
        "v1.020.2",
        "v1.20.+2",
        "v1.99999.0",
        "stable",
        "v1.20.2 ",
        "vv1.20.2",
    ] {
        assert!(text.parse::<KubernetesVersion>().is_err(), "{text:?}");
    }
    let older: KubernetesVersion = "v1.20.15".parse().unwrap();
    let newer: KubernetesVersion = "v1.21.0".parse().unwrap();
    assert!(older < newer && newer.at_least(21) && !older.at_least(21));
}

#[test]
fn endpoints() {
    for (text, shown, ip) in [
        ("10.0.2.15:6443", "10.0.2.15:6443", true),
        ("10.0.2.15", "10.0.2.15:6443", true),
        ("api.example:8443", "api.example:8443", false),
        ("fd00::1", "[fd00::1]:6443", true),
        ("[fd00::0:1]", "[fd00::1]:6443", true),
        ("[fd00::1]:443", "[fd00::1]:443", true),
    ] {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!(
            (endpoint.to_string().as_str(), endpoint.ip().is_some()),
            (shown, ip)
        );
    }
    for text in [
        "",
        ":",
        ":6443",
        "https://a",
        "a/b",
        "a:",
        "a:0",
        "a:65536",
        "a:+1",
        "a:b:c",
        "0.0.0.0",
        "::",
        "[::1",
        "[]:1",
        "[a]:1",
        "[fd00::1]6443",
        "10.0.2.256",
        "10.0.2",
        "A.example",
        "224.0.0.1",
        "a b:1",
        "user@a:1",
        "fd00::1:6443",
    ] {
        assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
    }
}

#[test]
fn names_of_certificates() {
    for text in ["a.example", "*.a.example", "10.0.0.1", "fd00::1", "a"] {
        assert_eq!(text.parse::<San>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "*",
        "a.*.b",
        "**.a",
        "a:1",
        "10.0.0.256",
        "10.0.0.0/8",
        "A",
        "a b",
        "a@b",
    ] {
        assert!(text.parse::<San>().is_err(), "{text:?}");
    }
}
