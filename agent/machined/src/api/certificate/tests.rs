use machine_pki::{Issued, SigningRequest, inspect, issued_by, key_matches};
use machined_proto::v1::machine_service_client::MachineServiceClient;
use tonic::Code;

use super::*;
use crate::api::fixture::{channel, cluster, served};

async fn ask(caller: &Issued, csr_pem: String, purpose: i32) -> Result<String, Box<tonic::Status>> {
    let served = served().await;
    let (channel, _) = channel(served.address, Some(caller)).await.unwrap();
    let request = v1::SignCertificateRequest { csr_pem, purpose };
    let answer = MachineServiceClient::new(channel)
        .sign_certificate(request)
        .await;
    let line = served.audit().pop().unwrap();
    assert_eq!(line["method"], "SignCertificate", "{line}");
    answer
        .map(|answer| answer.into_inner().certificate_pem)
        .map_err(Box::new)
}

const API: i32 = v1::CertificatePurpose::MachineApi as i32;

#[tokio::test]
async fn a_machine_gets_its_own_names_and_the_address_it_called_from() {
    let caller = cluster().machine("w1");
    let own = inspect(&caller.certificate_pem).unwrap();
    // What the request says of itself is not believed.
    let asked = SigningRequest::generate("cp1").unwrap();
    let certificate = ask(&caller, asked.csr_pem, API).await.unwrap();
    assert!(issued_by(
        &certificate,
        cluster().authority.certificate_pem()
    ));
    assert!(key_matches(&certificate, &asked.key));
    let facts = inspect(&certificate).unwrap();
    assert_eq!(facts.common_name, "w1");
    assert_eq!(facts.organizations, [MACHINE_GROUP]);
    assert_eq!(facts.dns, own.dns);
    assert_eq!(facts.ips, ["127.0.0.1".parse().unwrap()].into());
    assert_eq!(facts.usage, Some(machine_pki::Usage::Server));
    let life = facts.not_after - facts.not_before;
    assert!(life <= 24 * 3600 + 300, "{life} s");
}

#[test]
fn the_address_of_a_call_is_in_the_servers_certificate_alone() {
    let bundle = machine_config::read(cluster().control_plane.as_bytes()).unwrap();
    let away: std::net::IpAddr = "10.0.0.9".parse().unwrap();
    let sign = |purpose: v1::CertificatePurpose| {
        let request = v1::SignCertificateRequest {
            csr_pem: SigningRequest::generate("w2").unwrap().csr_pem,
            purpose: purpose.into(),
        };
        let signed = sign(&bundle, &from(away), &request, SystemTime::now(), false).unwrap();
        inspect(&signed).unwrap().ips.contains(&away)
    };
    assert!(sign(v1::CertificatePurpose::MachineApi));
    assert!(!sign(v1::CertificatePurpose::MachineIdentity));
}

#[test]
fn a_kubelets_certificate_is_its_nodes_and_none_is_signed_while_the_cluster_is_made() {
    let bundle = machine_config::read(cluster().control_plane.as_bytes()).unwrap();
    let request = v1::SignCertificateRequest {
        csr_pem: SigningRequest::generate("system:node:cp1").unwrap().csr_pem,
        purpose: v1::CertificatePurpose::KubeletClient.into(),
    };
    let peer = from("10.0.0.9".parse().unwrap());
    let sign = |founding| sign(&bundle, &peer, &request, SystemTime::now(), founding);
    let signed = sign(false).unwrap();
    let facts = inspect(&signed).unwrap();
    assert_eq!(facts.common_name, "system:node:w2");
    assert_eq!(facts.organizations, ["system:nodes"]);
    assert_eq!(facts.usage, Some(machine_pki::Usage::Client));
    assert!(facts.dns.is_empty() && facts.ips.is_empty());
    let secrets = bundle.secrets.as_ref().unwrap();
    assert!(issued_by(
        &signed,
        &secrets.kubernetes_ca.as_ref().unwrap().certificate
    ));
    assert!(!issued_by(&signed, &secrets.machine_ca.certificate));
    assert_eq!(sign(true).unwrap_err().code(), Code::Unavailable);
}

/// The machine w2, from an address.
fn from(address: std::net::IpAddr) -> Peer {
    let caller = cluster().machine("w2");
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(caller.certificate_pem.as_bytes());
    let identity = crate::api::peer::Identity::read(&der.unwrap());
    Peer::new((address, 1).into(), identity, [0; 32])
}

#[tokio::test]
async fn people_cannot_ask_whatever_their_role() {
    for group in ["machined:admin", "machined:operator", "machined:enrolment"] {
        let caller = cluster().client("somebody", group);
        let asked = SigningRequest::generate("w1").unwrap();
        let refused = ask(&caller, asked.csr_pem, API).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{group}");
    }
}

#[tokio::test]
async fn a_servers_certificate_asks_for_nothing() {
    let caller = cluster().machine("w1");
    let asked = SigningRequest::generate("w1").unwrap();
    let certificate_pem = ask(&caller, asked.csr_pem, API).await.unwrap();
    let stolen = Issued {
        certificate_pem,
        key: asked.key,
    };
    // TLS itself refuses it as a client's: no call is ever made.
    let served = served().await;
    let asked = SigningRequest::generate("w1").unwrap();
    let answer = match channel(served.address, Some(&stolen)).await {
        Err(_) => return,
        Ok((channel, _)) => {
            let request = v1::SignCertificateRequest {
                csr_pem: asked.csr_pem,
                purpose: v1::CertificatePurpose::MachineIdentity.into(),
            };
            MachineServiceClient::new(channel)
                .sign_certificate(request)
                .await
        }
    };
    assert!(answer.is_err(), "{answer:?}");
    assert!(served.audit().is_empty());
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let caller = cluster().machine("w1");
    let whole = SigningRequest::generate("w1").unwrap().csr_pem;
    let large = whole.clone() + &"\n".repeat(LARGEST);
    for (csr, purpose) in [
        (String::new(), API),
        (whole.replace('M', "N"), API),
        (large, API),
        (whole.clone(), 0),
        (whole, 77),
    ] {
        let refused = ask(&caller, csr, purpose).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

#[test]
fn a_worker_signs_nothing() {
    let bundle = machine_config::read(cluster().worker.as_bytes()).unwrap();
    let request = v1::SignCertificateRequest {
        csr_pem: SigningRequest::generate("w2").unwrap().csr_pem,
        purpose: API,
    };
    let peer = from("10.0.0.2".parse().unwrap());
    let refused = sign(&bundle, &peer, &request, SystemTime::now(), false).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}
