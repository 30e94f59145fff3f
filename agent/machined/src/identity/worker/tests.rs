use std::time::Duration;

use machine_pki::{Issued, Usage};

use super::*;
use crate::api::fixture::{cluster, enrolled, served};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn shown(credentials: &Credentials) -> machine_pki::CertificateFacts {
    inspect(&credentials.certificate_pem).unwrap()
}

#[tokio::test]
async fn a_worker_asks_with_what_it_was_enrolled_with_and_keeps_its_own_from_then_on() {
    let control_plane = served().await;
    let directory = tempfile::tempdir().unwrap();
    let worker = enrolled(directory.path(), &cluster().worker);
    let (entry, kept) = (
        worker.current().unwrap(),
        directory.path().join("identity.pem"),
    );
    let given = entry
        .bundle
        .secrets
        .clone()
        .unwrap()
        .machine_identity
        .unwrap();
    let before = first(&entry, &kept).unwrap();
    assert_eq!(before.certificate_pem, given.certificate);

    let at = ("127.0.0.1", control_plane.address.port());
    let day = ask(&entry, &kept, at).await.unwrap();
    assert_eq!(shown(&day).common_name, "w1");
    assert!(shown(&day).not_after - shown(&day).not_before <= 24 * 3600 + 300);
    let own = load(&kept).unwrap();
    assert!(!past_half(&own.certificate, SystemTime::now()));
    assert_ne!(own, given);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kept).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o600);

    // The enrolled one expires; the kept one does not need it.
    let secrets = entry.bundle.secrets.as_ref().unwrap();
    let later = SystemTime::now() + YEAR - Duration::from_secs(60);
    assert_eq!(super::own(&entry, secrets, &kept, later).unwrap(), own);
    ask(&entry, &kept, at).await.unwrap();
    assert_eq!(load(&kept).unwrap(), own, "asked for again without need");
}

#[tokio::test]
async fn a_kubelet_gets_its_certificate_once_the_cluster_is_made() {
    let control_plane = served().await;
    let directory = tempfile::tempdir().unwrap();
    let worker = enrolled(directory.path(), &cluster().worker);
    let entry = worker.current().unwrap();
    let (kept, pki) = (
        directory.path().join("identity.pem"),
        directory.path().join("pki"),
    );
    let at = ("127.0.0.1", control_plane.address.port());
    control_plane.ledger.order_bootstrap("admin").unwrap();
    let why = ask_for_kubelet(&entry, &kept, at, &pki).await.unwrap_err();
    assert!(signer::too_early(&why), "{why:#}");
    let nobody = ("127.0.0.1", 1);
    let why = ask_for_kubelet(&entry, &kept, nobody, &pki)
        .await
        .unwrap_err();
    assert!(!signer::too_early(&why), "{why:#}");
    assert!(!pki.exists());

    control_plane.ledger.finish_bootstrap().unwrap();
    ask_for_kubelet(&entry, &kept, at, &pki).await.unwrap();
    assert!(kubelet::has_certificate(&pki, SystemTime::now()));
    let current = std::fs::read_to_string(pki.join("kubelet-client-current.pem")).unwrap();
    assert_eq!(inspect(&current).unwrap().common_name, "system:node:w1");
    let secrets = entry.bundle.secrets.as_ref().unwrap();
    let authority = secrets.ca(machine_pki::AuthorityKind::Kubernetes).unwrap();
    assert!(issued_by(&current, &authority.certificate));
    let from = current.find("-----BEGIN PRIVATE KEY-----").unwrap();
    assert!(key_matches(
        &current,
        &Secret::new(current[from..].to_owned())
    ));
}

#[test]
fn what_is_kept_is_used_only_while_it_fits() {
    let directory = tempfile::tempdir().unwrap();
    let worker = enrolled(directory.path(), &cluster().worker);
    let (entry, kept) = (
        worker.current().unwrap(),
        directory.path().join("identity.pem"),
    );
    let secrets = entry.bundle.secrets.as_ref().unwrap();
    let given = secrets.machine_identity.clone().unwrap();
    let foreign =
        machine_pki::Authority::generate(machine_pki::AuthorityKind::Machine, SystemTime::now())
            .unwrap();
    let issue = |authority: &machine_pki::Authority, name: &str| -> MachineIdentity {
        let request = machine_pki::LeafRequest {
            common_name: name.to_owned(),
            organizations: vec![machine_config::MACHINE_GROUP.to_owned()],
            usage: Usage::Both,
            dns: [name.to_owned()].into(),
            ips: [].into(),
            lifetime: YEAR,
        };
        let Issued {
            certificate_pem: certificate,
            key,
        } = authority.issue(&request, SystemTime::now()).unwrap();
        MachineIdentity { certificate, key }
    };
    for bad in [issue(&foreign, "w1"), issue(&cluster().authority, "w2")] {
        keep(&kept, &bad).unwrap();
        assert_eq!(
            own(&entry, secrets, &kept, SystemTime::now()),
            Some(given.clone())
        );
    }
    for text in ["", "junk", "-----BEGIN PRIVATE KEY-----\n"] {
        durable::replace(&kept, text.as_bytes(), 0o600).unwrap();
        assert_eq!(
            own(&entry, secrets, &kept, SystemTime::now()),
            Some(given.clone())
        );
    }
}

#[test]
fn with_nothing_to_show_the_agent_still_serves() {
    let directory = tempfile::tempdir().unwrap();
    let text = cluster().worker.clone();
    let at = text.find("machineIdentity:").unwrap();
    let end = text[at..].find("bootstrapToken:").unwrap() + at;
    let worker = enrolled(directory.path(), &(text[..at].to_owned() + &text[end..]));
    let entry = worker.current().unwrap();
    let credentials = first(&entry, &directory.path().join("identity.pem")).unwrap();
    crate::api::Front::new(&credentials, std::sync::Arc::default()).unwrap();
}
