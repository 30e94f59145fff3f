//! The cluster's secrets: complete, belonging together, and only where they belong.
//!
//! No message here repeats a value, nor what a parser said about one.

mod etcd;
mod identity;

use std::collections::HashMap;

use data_encoding::BASE64;
use machine_pki::{
    Authority, AuthorityKind, CertificateFacts, PkiError, Secret, ServiceAccountKey, inspect,
};

use crate::document::{CaSection, SecretsDocument, ServiceAccountSection};
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::secrets::{CaPair, ClusterSecrets, EtcdClient, ServiceAccount};
use crate::types::Role;

/// Who is to hold the secrets, as far as that is known: what is none is what is wrong with it, or is not
/// said at all.
#[derive(Default)]
pub(crate) struct Holder {
    pub(crate) role: Option<Role>,
    pub(crate) hostname: Option<String>,
    /// Whether its cluster's etcd is somebody else's.
    pub(crate) external_etcd: Option<bool>,
}

/// Judges the secrets as such a machine may hold them. Without a role only what is there is judged.
pub(crate) fn judge(
    document: SecretsDocument,
    holder: &Holder,
    report: &mut Report<'_>,
) -> Option<ClusterSecrets> {
    let root = Path::root();
    let (role, hostname) = (holder.role, holder.hostname.as_deref());
    etcd::whose(&document, holder, report);
    let external_etcd = document.external_etcd.map(|section| {
        etcd::judge(&section, report);
        EtcdClient {
            ca: section.ca,
            certificate: section.certificate,
            key: section.key,
        }
    });
    let mut seen = HashMap::new();
    let mut ca = |section: Option<CaSection>, kind: AuthorityKind, report: &mut Report<'_>| {
        let at = root.key(field(kind));
        // Whether etcd's may be missing is judged with whose etcd it is.
        if (kind != AuthorityKind::Etcd || section.is_some())
            && !wanted(section.is_some(), kind, role, &at, report)
        {
            return None;
        }
        let section = section?;
        let facts = judge_ca(&section, kind, role, &at, report);
        if let Some(facts) = facts {
            // One authority in two roles lets the clients of one in at the other's door.
            match seen.get(&facts.spki_sha256) {
                Some(other) => {
                    let fault = Fault::new(format!("has the same key as {other}"));
                    report.value(
                        &at.key("certificate"),
                        fault.hint("each authority needs its own"),
                    );
                }
                None => {
                    seen.insert(facts.spki_sha256, field(kind));
                }
            }
        }
        Some(CaPair {
            certificate: section.certificate,
            key: section.key,
        })
    };
    let machine_ca = ca(Some(document.machine_ca), AuthorityKind::Machine, report);
    let kubernetes_ca = ca(document.kubernetes_ca, AuthorityKind::Kubernetes, report);
    let etcd_ca = ca(document.etcd_ca, AuthorityKind::Etcd, report);
    let front_proxy_ca = ca(document.front_proxy_ca, AuthorityKind::FrontProxy, report);
    let service_account = service_account(document.service_account, role, report);
    let machine_identity = document.machine_identity.map(|section| {
        let authority = machine_ca.as_ref().map(|ca| ca.certificate.as_str());
        identity::judge(section, authority, role, hostname, report)
    });
    let proves = machine_identity.is_some() || document.bootstrap_token.is_some();
    if role == Some(Role::Worker) && !proves {
        let fault = Fault::new("is missing, and so is bootstrapToken: the worker could not join");
        report.value(&root.key("machineIdentity"), fault.hint(WORKERS_PART));
    }
    if let Some(token) = &document.bootstrap_token {
        let at = root.key("bootstrapToken");
        if role == Some(Role::Etcd) {
            report.key(&at, not_for(Role::Etcd));
        } else if let Err(fault) = check_token(token) {
            report.value(&at, fault);
        }
    }
    if let Some(key) = &document.encryption_key {
        let at = root.key("encryptionKey");
        if let Some(role @ (Role::Worker | Role::Etcd)) = role {
            report.key(&at, not_for(role));
        } else if let Err(fault) = check_encryption_key(key) {
            report.value(&at, fault);
        }
    }
    Some(ClusterSecrets {
        machine_ca: machine_ca?,
        kubernetes_ca,
        etcd_ca,
        external_etcd,
        front_proxy_ca,
        service_account,
        machine_identity,
        bootstrap_token: document.bootstrap_token,
        encryption_key: document.encryption_key,
    })
}

fn field(kind: AuthorityKind) -> &'static str {
    match kind {
        AuthorityKind::Machine => "machineCA",
        AuthorityKind::Kubernetes => "kubernetesCA",
        AuthorityKind::Etcd => "etcdCA",
        AuthorityKind::FrontProxy => "frontProxyCA",
    }
}

/// Said also of a whole cluster's secrets, whose only copy nobody should be told to edit.
const WORKERS_PART: &str = "machinectl gen config makes a worker's own part of the secrets";

fn not_for(role: Role) -> Fault {
    match role {
        Role::Etcd => Fault::new("a machine of role etcd must not hold it")
            .hint("machinectl gen config makes its own part of the secrets"),
        Role::Worker | Role::ControlPlane => {
            Fault::new("a worker must not hold it").hint(WORKERS_PART)
        }
    }
}

/// Whether an authority is there and may be; reports it otherwise.
fn wanted(
    present: bool,
    kind: AuthorityKind,
    role: Option<Role>,
    at: &Path,
    report: &mut Report<'_>,
) -> bool {
    use AuthorityKind::{Etcd, FrontProxy, Kubernetes, Machine};
    match (role, kind) {
        (Some(role @ Role::Worker), Etcd | FrontProxy)
        | (Some(role @ Role::Etcd), Kubernetes | FrontProxy)
            if present =>
        {
            report.key(at, not_for(role));
        }
        (Some(Role::Etcd), Kubernetes | FrontProxy) => return false,
        (Some(role @ Role::ControlPlane), _) if !present => report.value(at, missing(role)),
        // Every other machine trusts these two, and so does whoever keeps the cluster's own secrets.
        (_, Machine | Kubernetes) if !present => report.value(at, Fault::new("is missing")),
        _ => return present,
    }
    false
}

fn missing(role: Role) -> Fault {
    let fault = Fault::new("is missing");
    match role {
        Role::Etcd => fault.hint("a machine of role etcd needs it"),
        Role::ControlPlane | Role::Worker => fault.hint("a control plane machine needs it"),
    }
}

fn judge_ca(
    section: &CaSection,
    kind: AuthorityKind,
    role: Option<Role>,
    at: &Path,
    report: &mut Report<'_>,
) -> Option<CertificateFacts> {
    let (certificate_at, key_at) = (at.key("certificate"), at.key("key"));
    let facts = match check_certificate(&section.certificate) {
        Ok(facts) => Some(facts),
        Err(fault) => {
            report.wrong(&certificate_at, fault);
            None
        }
    };
    match (&section.key, role) {
        (Some(_), Some(Role::Worker)) => {
            let fault = Fault::new("a worker must not hold CA keys");
            report.key(&key_at, fault.hint(WORKERS_PART));
        }
        (None, Some(role @ (Role::ControlPlane | Role::Etcd))) => {
            report.value(&key_at, missing(role));
        }
        (Some(key), _) if facts.is_some() => {
            if let Err(error) = Authority::from_pem(kind, &section.certificate, key) {
                let (at, fault) = match error {
                    PkiError::NotAnAuthority { .. } | PkiError::Unusable { .. } => {
                        (certificate_at, Fault::new("cannot sign other certificates"))
                    }
                    PkiError::KeyMismatch { .. } => (
                        key_at,
                        Fault::new("does not belong to the certificate beside it"),
                    ),
                    _ => (key_at, unreadable_key()),
                };
                report.value(&at, fault);
            }
        }
        _ => {}
    }
    facts
}

fn unreadable_key() -> Fault {
    Fault::new("is not a private key in PEM")
        .hint("write it after \"|\", from -----BEGIN to END-----")
}

fn check_certificate(pem: &str) -> Result<CertificateFacts, Fault> {
    const SHAPE: &str = "write it after \"|\", from -----BEGIN CERTIFICATE----- to its END";
    if pem.contains("PRIVATE KEY") {
        return Err(Fault::new("contains a private key").hint("keys go into key:, alone"));
    }
    only_section(pem, "CERTIFICATE")?;
    let facts = inspect(pem).map_err(|_| Fault::new("is not a PEM certificate").hint(SHAPE))?;
    if !facts.is_ca {
        let fault = Fault::new("is not the certificate of an authority");
        return Err(fault.hint("its basic constraints do not say CA"));
    }
    Ok(facts)
}

/// Refuses text around the one section: the field is shown, and with a slip of indentation the line
/// below it, perhaps a token, becomes part of it.
fn only_section(pem: &str, label: &str) -> Result<(), Fault> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    if pem.matches(&begin).count() > 1 {
        return Err(Fault::new("holds several sections").hint("one is needed"));
    }
    let text = pem.trim();
    if text.contains(&begin) && !(text.starts_with(&begin) && text.ends_with(&end)) {
        let fault = Fault::new("holds more than a PEM section");
        return Err(fault.hint(format!("only {begin} to {end}")));
    }
    Ok(())
}

fn service_account(
    section: Option<ServiceAccountSection>,
    role: Option<Role>,
    report: &mut Report<'_>,
) -> Option<ServiceAccount> {
    let at = Path::root().key("serviceAccount");
    let Some(section) = section else {
        if role == Some(Role::ControlPlane) {
            report.value(&at, missing(Role::ControlPlane));
        }
        return None;
    };
    if let Some(role @ (Role::Worker | Role::Etcd)) = role {
        report.key(&at, not_for(role));
        return None;
    }
    if let Err(fault) = only_section(&section.public, "PUBLIC KEY") {
        report.wrong(&at.key("public"), fault);
    }
    match section.key.as_ref().map(ServiceAccountKey::from_pem) {
        Some(Ok(pair)) if pair.matches(&section.public) => {}
        Some(Ok(_)) => {
            let fault = Fault::new("is not the public half of the key beside it");
            report.value(&at.key("public"), fault.hint("a PEM section PUBLIC KEY"));
        }
        Some(Err(_)) => report.value(&at.key("key"), unreadable_key()),
        None if role.is_some() => report.value(&at.key("key"), missing(Role::ControlPlane)),
        None => {}
    }
    Some(ServiceAccount {
        key: section.key,
        public: section.public,
    })
}

fn check_token(token: &Secret) -> Result<(), Fault> {
    let word = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    match token.expose().split_once('.') {
        Some((id, secret)) if word(id, 6) && word(secret, 16) => Ok(()),
        _ => Err(Fault::new("is not a bootstrap token")
            .hint("6 and 16 of a-z and 0-9 with a dot between; machinectl gen secrets makes one")),
    }
}

fn check_encryption_key(key: &Secret) -> Result<(), Fault> {
    match BASE64.decode(key.expose().trim().as_bytes()) {
        Ok(bytes) if bytes.len() == 32 => Ok(()),
        _ => Err(Fault::new("is not 32 bytes in base64").hint("machinectl gen secrets makes one")),
    }
}
