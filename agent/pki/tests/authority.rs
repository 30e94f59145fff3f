//! Authorities made here and brought from elsewhere, and what they sign.

#![allow(clippy::unwrap_used)] // a test may stop at what it did not expect

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use machine_pki::leaf::Lifetime;
use machine_pki::{
    Authority, AuthorityKind, LeafRequest, PkiError, Secret, ServiceAccountKey, Usage, inspect,
    issued_by, key_matches,
};

/// 2030-01-01, within the life of the imported authorities.
const NOW: i64 = 1_893_456_000;
const DAY: i64 = 24 * 60 * 60;

fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap())
}

fn request() -> LeafRequest {
    LeafRequest {
        common_name: "kube-apiserver".to_owned(),
        organizations: vec!["system:masters".to_owned()],
        usage: Usage::Server,
        dns: ["cp1", "kubernetes.default.svc"].map(str::to_owned).into(),
        ips: ["10.96.0.1".parse().unwrap(), "fd00::1".parse().unwrap()].into(),
        lifetime: Lifetime::LEAF,
    }
}

fn imported(name: &str) -> (String, Secret) {
    let read = |end: &str| {
        let path = format!("{}/tests/imported/{name}.{end}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    (read("crt"), Secret::new(read("key")))
}

fn import(name: &str) -> Result<Authority, PkiError> {
    let (certificate, key) = imported(name);
    Authority::from_pem(AuthorityKind::Kubernetes, &certificate, &key)
}

#[test]
fn a_new_authority_is_a_ca_for_ten_years() {
    for kind in AuthorityKind::ALL {
        let authority = Authority::generate(kind, at(NOW)).unwrap();
        let facts = inspect(authority.certificate_pem()).unwrap();
        assert!(facts.is_ca);
        assert_eq!(facts.common_name, kind.common_name());
        assert_eq!(facts.issuer_common_name, facts.common_name);
        assert_eq!((facts.organizations.len(), facts.usage), (0, None));
        assert_eq!(facts.not_before, NOW - 300);
        assert_eq!(facts.not_after, NOW + 3650 * DAY);
        assert!(issued_by(
            authority.certificate_pem(),
            authority.certificate_pem()
        ));
        assert!(key_matches(
            authority.certificate_pem(),
            authority.key_pem()
        ));
        assert!(
            authority
                .key_pem()
                .expose()
                .starts_with("-----BEGIN PRIVATE KEY-----\n")
        );
        assert!(!format!("{authority:?}").contains("PRIVATE"));
    }
}

#[test]
fn a_leaf_says_what_was_asked_and_nothing_else() {
    let authority = Authority::generate(AuthorityKind::Kubernetes, at(NOW)).unwrap();
    let ca = inspect(authority.certificate_pem()).unwrap();
    for usage in [Usage::Server, Usage::Client, Usage::Both] {
        let request = LeafRequest { usage, ..request() };
        let leaf = authority.issue(&request, at(NOW)).unwrap();
        let facts = inspect(&leaf.certificate_pem).unwrap();
        assert_eq!(facts.common_name, request.common_name);
        assert_eq!(facts.organizations, request.organizations);
        assert_eq!((&facts.dns, &facts.ips), (&request.dns, &request.ips));
        assert_eq!(facts.usage, Some(usage));
        assert!(!facts.is_ca);
        assert_eq!(
            (facts.not_before, facts.not_after),
            (NOW - 300, NOW + 365 * DAY)
        );
        assert_eq!(facts.issuer_common_name, "kubernetes");
        assert!(ca.subject_key_id.is_some());
        assert_eq!(facts.authority_key_id, ca.subject_key_id);
        assert_eq!(facts.serial.replace(':', "").len(), 32, "128 bits");
        assert!(issued_by(
            &leaf.certificate_pem,
            authority.certificate_pem()
        ));
        assert!(key_matches(&leaf.certificate_pem, &leaf.key));
        assert!(!key_matches(&leaf.certificate_pem, authority.key_pem()));
    }
}

#[test]
fn serials_and_keys_are_never_the_same() {
    let authority = Authority::generate(AuthorityKind::Etcd, at(NOW)).unwrap();
    let issue = || {
        inspect(
            &authority
                .issue(&request(), at(NOW))
                .unwrap()
                .certificate_pem,
        )
        .unwrap()
    };
    let (a, b) = (issue(), issue());
    assert_ne!(a.serial, b.serial);
    assert_ne!(a.spki_sha256, b.spki_sha256);
}

#[test]
fn another_authority_of_the_same_name_did_not_sign_it() {
    let authority = Authority::generate(AuthorityKind::Etcd, at(NOW)).unwrap();
    let other = Authority::generate(AuthorityKind::Etcd, at(NOW)).unwrap();
    let leaf = authority
        .issue(&request(), at(NOW))
        .unwrap()
        .certificate_pem;
    assert!(!issued_by(&leaf, other.certificate_pem()));
    assert!(!issued_by(&leaf, &leaf));
    assert!(!issued_by(&leaf, "junk"));
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let authority = Authority::generate(AuthorityKind::Kubernetes, at(NOW)).unwrap();
    let late = NOW + 3600 * DAY;
    let leaf = authority.issue(&request(), at(late)).unwrap();
    assert_eq!(
        inspect(&leaf.certificate_pem).unwrap().not_after,
        NOW + 3650 * DAY
    );
    // A leaf made at once begins no earlier than its authority.
    let (first, last) = (NOW - 300, NOW + 3650 * DAY);
    let leaf = authority.issue(&request(), at(first)).unwrap();
    assert_eq!(inspect(&leaf.certificate_pem).unwrap().not_before, first);
    for wrong in [first - 1, last, NOW - 365 * DAY, NOW + 20 * 365 * DAY] {
        let error = authority.issue(&request(), at(wrong)).unwrap_err();
        assert!(matches!(error, PkiError::OutsideLife { .. }), "{error}");
    }
}

#[test]
fn impossible_dates_are_errors() {
    let far = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 1000);
    for now in [UNIX_EPOCH, far, UNIX_EPOCH - Duration::from_secs(1)] {
        let error = Authority::generate(AuthorityKind::Machine, now).unwrap_err();
        assert!(matches!(error, PkiError::Dates { .. }), "{error}");
    }
    let authority = Authority::generate(AuthorityKind::Machine, at(NOW)).unwrap();
    let forever = LeafRequest {
        lifetime: Duration::MAX,
        ..request()
    };
    assert!(matches!(
        authority.issue(&forever, at(NOW)),
        Err(PkiError::Dates { .. })
    ));
}

#[test]
fn requests_that_fit_no_certificate_are_refused() {
    let authority = Authority::generate(AuthorityKind::Machine, at(NOW)).unwrap();
    let two = vec!["a".to_owned(), "b".to_owned()];
    let refused = [
        LeafRequest {
            organizations: two,
            ..request()
        },
        LeafRequest {
            common_name: String::new(),
            ..request()
        },
        LeafRequest {
            dns: ["käse".to_owned()].into(),
            ..request()
        },
    ];
    for request in refused {
        let error = authority.issue(&request, at(NOW)).unwrap_err();
        assert!(matches!(error, PkiError::Request { .. }), "{error}");
    }
}

#[test]
fn authorities_of_other_tools_load_and_sign() {
    for name in [
        "rsa-pkcs1",
        "rsa-pkcs8",
        "ec-sec1",
        "p384-pkcs8",
        "ed25519",
        "kubeadm",
    ] {
        let authority = import(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (certificate, key) = imported(name);
        assert_eq!(
            (authority.certificate_pem(), authority.key_pem()),
            (&*certificate, &key)
        );
        let leaf = authority.issue(&request(), at(NOW)).unwrap();
        assert!(issued_by(&leaf.certificate_pem, &certificate), "{name}");
        let (leaf, ca) = (
            inspect(&leaf.certificate_pem).unwrap(),
            inspect(&certificate).unwrap(),
        );
        assert_eq!(leaf.issuer_common_name, ca.common_name);
        assert_eq!(leaf.authority_key_id, ca.subject_key_id);
    }
}

#[test]
fn what_cannot_be_an_authority_is_refused_with_its_reason() {
    let says = |name: &str| import(name).unwrap_err().to_string();
    assert!(says("not-an-authority").contains("do not say CA:TRUE"));
    assert!(says("may-not-sign").contains("does not allow signing"));
    assert!(says("two-organizations").contains("several values"));
    assert!(says("p521").contains("not supported"));
    assert!(says("encrypted").contains("encrypted"));

    let (certificate, key) = imported("ec-sec1");
    let refuse = |certificate: &str, key: &Secret| {
        Authority::from_pem(AuthorityKind::Etcd, certificate, key).unwrap_err()
    };
    let (_, other) = imported("rsa-pkcs1");
    assert_eq!(
        refuse(&certificate, &other),
        PkiError::KeyMismatch {
            kind: AuthorityKind::Etcd
        }
    );
    let twice = format!("{certificate}{certificate}");
    assert_eq!(
        refuse(&twice, &key),
        PkiError::Bundle {
            kind: AuthorityKind::Etcd
        }
    );
    assert!(matches!(refuse("", &key), PkiError::Pem { .. }));
    let junk = Secret::new("hunter2".to_owned());
    let error = refuse(&certificate, &junk);
    assert!(matches!(error, PkiError::Pem { .. }));
    assert!(!error.to_string().contains("hunter2"));
    let leaf = import("ec-sec1")
        .unwrap()
        .issue(&request(), at(NOW))
        .unwrap();
    assert!(matches!(
        refuse(&leaf.certificate_pem, &leaf.key),
        PkiError::NotAnAuthority { .. }
    ));
}

#[test]
fn a_signing_request_gives_its_public_key_and_nothing_more() {
    let authority = Authority::generate(AuthorityKind::Machine, at(NOW)).unwrap();
    let read = |name: &str| {
        std::fs::read_to_string(format!(
            "{}/tests/imported/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
    };
    for name in ["greedy.csr", "rsa.csr"] {
        let csr = read(name).unwrap();
        let certificate = authority.sign_csr(&csr, &request(), at(NOW)).unwrap();
        let facts = inspect(&certificate).unwrap();
        assert_eq!(facts.common_name, "kube-apiserver");
        assert_eq!(facts.dns, request().dns);
        assert!(!facts.is_ca);
        assert!(issued_by(&certificate, authority.certificate_pem()));
    }
    let (rsa, key) = (read("rsa.csr").unwrap(), imported("rsa-pkcs1").1);
    assert!(key_matches(
        &authority.sign_csr(&rsa, &request(), at(NOW)).unwrap(),
        &key
    ));

    // Twenty characters before the end lies the signature.
    let body = rsa
        .trim_end()
        .strip_suffix("-----END CERTIFICATE REQUEST-----")
        .unwrap();
    let (head, tail) = body.split_at(body.len() - 20);
    let flipped: String = tail
        .chars()
        .map(|c| if c == 'A' { 'B' } else { c })
        .collect();
    let broken = if flipped == tail {
        tail.replacen(&tail[..1], "A", 1)
    } else {
        flipped
    };
    let broken = format!("{head}{broken}-----END CERTIFICATE REQUEST-----\n");
    for csr in [broken.as_str(), "", "junk", authority.certificate_pem()] {
        let error = authority.sign_csr(csr, &request(), at(NOW)).unwrap_err();
        assert!(matches!(error, PkiError::SigningRequest { .. }), "{error}");
    }
}

#[test]
fn service_account_keys_round_trip() {
    let made = ServiceAccountKey::generate().unwrap();
    assert!(made.public_pem.starts_with("-----BEGIN PUBLIC KEY-----"));
    assert_eq!(ServiceAccountKey::from_pem(&made.key).unwrap(), made);
    assert!(made.matches(&made.public_pem));
    let rsa = ServiceAccountKey::from_pem(&imported("rsa-pkcs1").1).unwrap();
    assert!(!made.matches(&rsa.public_pem));
    assert!(!made.matches("junk"));
    assert!(ServiceAccountKey::from_pem(&Secret::new("junk".to_owned())).is_err());
    assert!(!format!("{made:?}").contains("PRIVATE"));
}

#[test]
fn requests_survive_being_written_down() {
    let text = serde_json::to_string(&request()).unwrap();
    assert_eq!(
        serde_json::from_str::<LeafRequest>(&text).unwrap(),
        request()
    );
}

#[test]
fn a_request_made_here_is_signed_and_its_key_stays() {
    let authority = Authority::generate(AuthorityKind::Machine, at(NOW)).unwrap();
    let asked = machine_pki::SigningRequest::generate("w1").unwrap();
    assert!(!asked.csr_pem.contains("PRIVATE KEY"));
    let certificate = authority
        .sign_csr(&asked.csr_pem, &request(), at(NOW))
        .unwrap();
    assert!(key_matches(&certificate, &asked.key));
    assert!(issued_by(&certificate, authority.certificate_pem()));
}
