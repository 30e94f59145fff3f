//! The cluster's secrets, and which part of them a machine holds.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use machine_pki::leaf::Lifetime;
use machine_pki::{
    Authority, AuthorityKind, LeafRequest, PkiError, Secret, ServiceAccountKey, Usage,
    random_encryption_key, random_token,
};

use super::GenerateError;
use crate::secrets::{
    CaPair, ClusterSecrets, EtcdClient, MACHINE_GROUP, MachineIdentity, ServiceAccount,
};
use crate::write::Writer;

/// Makes a new cluster's secrets: the text of a `ClusterSecrets` document.
///
/// # Errors
/// If the operating system gives no random bytes, or `now` fits no certificate.
pub fn secrets(now: SystemTime) -> Result<Secret, GenerateError> {
    secrets_with(None, now)
}

/// The same of a cluster whose etcd is outside of it, where a client of that is given.
///
/// # Errors
/// As [`secrets`].
pub fn secrets_with(
    external_etcd: Option<EtcdClient>,
    now: SystemTime,
) -> Result<Secret, GenerateError> {
    let ca = |kind| -> Result<CaPair, PkiError> {
        let authority = Authority::generate(kind, now)?;
        Ok(CaPair {
            certificate: authority.certificate_pem().to_owned(),
            key: Some(authority.key_pem().clone()),
        })
    };
    let signing = ServiceAccountKey::generate()?;
    Ok(write_secrets(&ClusterSecrets {
        machine_ca: ca(AuthorityKind::Machine)?,
        kubernetes_ca: Some(ca(AuthorityKind::Kubernetes)?),
        etcd_ca: Some(ca(AuthorityKind::Etcd)?),
        external_etcd,
        front_proxy_ca: Some(ca(AuthorityKind::FrontProxy)?),
        service_account: Some(ServiceAccount {
            key: Some(signing.key.clone()),
            public: signing.public_pem.clone(),
        }),
        machine_identity: None,
        bootstrap_token: Some(random_token()?),
        encryption_key: Some(random_encryption_key()?),
    }))
}

/// The machine authority of secrets that lack nothing.
pub(super) fn authority(secrets: &ClusterSecrets) -> Result<Authority, GenerateError> {
    if let Some(missing) = missing(secrets) {
        return Err(GenerateError::Incomplete { missing });
    }
    let authority = secrets.authority(AuthorityKind::Machine);
    authority.ok_or(GenerateError::Incomplete {
        missing: "machineCA.key",
    })
}

fn missing(secrets: &ClusterSecrets) -> Option<&'static str> {
    let keyless = |ca: Option<&CaPair>| ca.is_none_or(|ca| ca.key.is_none());
    if keyless(Some(&secrets.machine_ca)) {
        Some("machineCA.key")
    } else if keyless(secrets.kubernetes_ca.as_ref()) {
        Some("kubernetesCA.key")
    } else if keyless(secrets.etcd_ca.as_ref()) && secrets.external_etcd.is_none() {
        Some("etcdCA.key")
    } else if keyless(secrets.front_proxy_ca.as_ref()) {
        Some("frontProxyCA.key")
    } else if secrets
        .service_account
        .as_ref()
        .is_none_or(|pair| pair.key.is_none())
    {
        Some("serviceAccount.key")
    } else {
        None
    }
}

/// What a worker introduces itself with: good for a year, in its name alone.
pub(super) fn identity(
    authority: &Authority,
    hostname: &str,
    sans: &[String],
    now: SystemTime,
) -> Result<MachineIdentity, PkiError> {
    let mut request = LeafRequest {
        common_name: hostname.to_owned(),
        organizations: vec![MACHINE_GROUP.to_owned()],
        usage: Usage::Both,
        dns: [hostname.to_owned()].into(),
        ips: [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into(),
        lifetime: Lifetime::LEAF,
    };
    for san in sans {
        // What is no name either is refused below, with its place.
        match san.parse() {
            Ok(ip) => drop(request.ips.insert(ip)),
            Err(_) => drop(request.dns.insert(san.clone())),
        }
    }
    let issued = authority.issue(&request, now)?;
    Ok(MachineIdentity {
        certificate: issued.certificate_pem,
        key: issued.key,
    })
}

/// What every control plane machine holds: all but what another etcd than theirs would need.
pub(super) fn control_planes_part(
    secrets: &ClusterSecrets,
    external_etcd: bool,
) -> Result<ClusterSecrets, GenerateError> {
    let mut part = secrets.clone();
    let missing = if external_etcd {
        part.etcd_ca = None;
        part.external_etcd.is_none().then_some("externalEtcd")
    } else {
        part.external_etcd = None;
        part.etcd_ca.is_none().then_some("etcdCA")
    };
    match missing {
        Some(missing) => Err(GenerateError::Incomplete { missing }),
        None => Ok(part),
    }
}

/// What every machine of role `etcd` holds: what its member and its own API sign with.
pub(super) fn etcds_part(secrets: &ClusterSecrets) -> Result<ClusterSecrets, GenerateError> {
    let Some(etcd_ca) = secrets.etcd_ca.clone() else {
        return Err(GenerateError::Incomplete { missing: "etcdCA" });
    };
    Ok(ClusterSecrets {
        machine_ca: secrets.machine_ca.clone(),
        kubernetes_ca: None,
        etcd_ca: Some(etcd_ca),
        external_etcd: None,
        front_proxy_ca: None,
        service_account: None,
        machine_identity: None,
        bootstrap_token: None,
        encryption_key: None,
    })
}

/// What every worker may hold: two certificates to trust, and the token its kubelet begins with.
pub(super) fn workers_part(secrets: &ClusterSecrets) -> ClusterSecrets {
    let public = |ca: &CaPair| CaPair {
        certificate: ca.certificate.clone(),
        key: None,
    };
    ClusterSecrets {
        machine_ca: public(&secrets.machine_ca),
        kubernetes_ca: secrets.kubernetes_ca.as_ref().map(public),
        etcd_ca: None,
        external_etcd: None,
        front_proxy_ca: None,
        service_account: None,
        machine_identity: None,
        bootstrap_token: secrets.bootstrap_token.clone(),
        encryption_key: None,
    }
}

pub(super) fn write_secrets(secrets: &ClusterSecrets) -> Secret {
    let mut out = Writer::document(crate::document::CLUSTER_SECRETS);
    let cas = [
        ("machineCA", Some(&secrets.machine_ca)),
        ("kubernetesCA", secrets.kubernetes_ca.as_ref()),
        ("etcdCA", secrets.etcd_ca.as_ref()),
        ("frontProxyCA", secrets.front_proxy_ca.as_ref()),
    ];
    for (name, ca) in cas {
        let Some(ca) = ca else { continue };
        out.section(0, name);
        out.text(2, "certificate", &ca.certificate);
        if let Some(key) = &ca.key {
            out.text(2, "key", key.expose());
        }
    }
    if let Some(client) = &secrets.external_etcd {
        out.section(0, "externalEtcd");
        out.text(2, "ca", &client.ca);
        out.text(2, "certificate", &client.certificate);
        out.text(2, "key", client.key.expose());
    }
    if let Some(pair) = &secrets.service_account {
        out.section(0, "serviceAccount");
        if let Some(key) = &pair.key {
            out.text(2, "key", key.expose());
        }
        out.text(2, "public", &pair.public);
    }
    if let Some(identity) = &secrets.machine_identity {
        out.section(0, "machineIdentity");
        out.text(2, "certificate", &identity.certificate);
        out.text(2, "key", identity.key.expose());
    }
    if let Some(token) = &secrets.bootstrap_token {
        out.text(0, "bootstrapToken", token.expose());
    }
    if let Some(key) = &secrets.encryption_key {
        out.text(0, "encryptionKey", key.expose());
    }
    Secret::new(out.finish())
}
