//! No text makes the readers panic: not noise, and not a real certificate with bytes changed.

#![allow(clippy::unwrap_used)] // a test may stop at what it did not expect

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use machine_pki::{
    Authority, AuthorityKind, LeafRequest, Secret, Usage, inspect, inspect_request, issued_by,
    key_matches,
};
use proptest::prelude::*;

static AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::generate(AuthorityKind::Etcd, now()).unwrap());

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_893_456_000)
}

fn request() -> LeafRequest {
    LeafRequest {
        common_name: "node".to_owned(),
        organizations: vec!["group".to_owned()],
        usage: Usage::Both,
        dns: ["node".to_owned()].into(),
        ips: ["10.0.0.1".parse().unwrap()].into(),
        lifetime: Duration::from_secs(3600),
    }
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    BASE64.decode(body.as_bytes()).unwrap()
}

// In lines of 64, as every tool writes it.
fn pem(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).collect();
    let body = String::from_utf8(lines.join(&b'\n')).unwrap();
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn read_all(text: &str) {
    let _ = inspect(text);
    let _ = issued_by(text, AUTHORITY.certificate_pem());
    let _ = issued_by(AUTHORITY.certificate_pem(), text);
    let _ = key_matches(text, AUTHORITY.key_pem());
    let _ = key_matches(AUTHORITY.certificate_pem(), &Secret::new(text.to_owned()));
    let _ = Authority::from_pem(AuthorityKind::Etcd, text, AUTHORITY.key_pem());
    let _ = inspect_request(text);
    let _ = AUTHORITY.sign_csr(text, &request(), now());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn noise(text in any::<String>()) {
        read_all(&text);
    }

    #[test]
    fn noise_in_pem(bytes in prop::collection::vec(any::<u8>(), 0..300), label in 0..3_usize) {
        let label = ["CERTIFICATE", "CERTIFICATE REQUEST", "PRIVATE KEY"][label];
        read_all(&pem(label, &bytes));
    }

    #[test]
    fn changed_certificates(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
        static LEAF: LazyLock<Vec<u8>> =
            LazyLock::new(|| der(&AUTHORITY.issue(&request(), now()).unwrap().certificate_pem));
        for source in [LEAF.clone(), der(AUTHORITY.certificate_pem())] {
            let mut bytes = source;
            for (place, byte) in &changes {
                let place = usize::from(*place) % bytes.len();
                bytes[place] = *byte;
            }
            read_all(&pem("CERTIFICATE", &bytes));
        }
    }

    #[test]
    fn changed_requests(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/imported/greedy.csr");
        let mut bytes = der(&std::fs::read_to_string(path).unwrap());
        for (place, byte) in changes {
            let place = usize::from(place) % bytes.len();
            bytes[place] = byte;
        }
        read_all(&pem("CERTIFICATE REQUEST", &bytes));
    }
}
