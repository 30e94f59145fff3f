use super::*;
use crate::api::fixture::cluster;

fn bundle() -> Bundle {
    machine_config::read(cluster().control_plane.as_bytes()).unwrap()
}

fn request() -> v1::CreateTokenRequest {
    v1::CreateTokenRequest::default()
}

#[test]
fn a_token_ends_after_a_day_unless_told() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let expires = |request| asked(&bundle(), request, now).unwrap().expires();
    let after = |seconds| Some(now + Duration::from_secs(seconds));
    assert_eq!(expires(request()), after(86_400));
    let short = v1::CreateTokenRequest {
        lifetime_seconds: 60,
        ..request()
    };
    assert_eq!(expires(short.clone()), after(60));
    let never = v1::CreateTokenRequest {
        never_expires: true,
        ..request()
    };
    assert_eq!(expires(never), None);
    let both = v1::CreateTokenRequest {
        never_expires: true,
        ..short
    };
    assert!(asked(&bundle(), both, now).is_err());
}

#[test]
fn no_two_tokens_are_alike() {
    let now = SystemTime::now();
    let token = || asked(&bundle(), request(), now).unwrap();
    assert_ne!(token().token(), token().token());
}

#[test]
fn the_hash_is_of_the_key_that_the_api_server_is_vouched_for_by() {
    let bundle = bundle();
    let authority = &bundle
        .secrets
        .as_ref()
        .unwrap()
        .kubernetes_ca
        .as_ref()
        .unwrap()
        .certificate;
    let hash = machine_pki::inspect(authority).unwrap().spki_sha256;
    assert_eq!(ca_hashes(&bundle).unwrap(), [format!("sha256:{hash}")]);
    // While an authority is replaced there are two.
    let mut both = bundle.clone();
    let secrets = both.secrets.as_mut().unwrap();
    let etcds = secrets.etcd_ca.as_ref().unwrap().certificate.clone();
    let authority = secrets.kubernetes_ca.as_mut().unwrap();
    authority.certificate.push_str(&etcds);
    assert_eq!(ca_hashes(&both).unwrap().len(), 2);
}

#[test]
fn a_worker_has_no_tokens() {
    let worker = machine_config::read(cluster().worker.as_bytes()).unwrap();
    let refused = asked(&worker, request(), SystemTime::now()).unwrap_err();
    assert!(
        refused.message().contains("ask a control plane"),
        "{refused}"
    );
}
