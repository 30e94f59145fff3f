//! Documents made from a few words: the cluster's secrets once, then one stream per machine.
//!
//! Everything made here has passed [`crate::read`], so a machine never refuses what this makes.
//! Apart from the secrets, which are random, the same words give the same text.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use machine_pki::leaf::Lifetime;
use machine_pki::{
    Authority, AuthorityKind, LeafRequest, PkiError, Secret, ServiceAccountKey, Usage, inspect,
    random_encryption_key, random_token,
};

use crate::problem::Problems;
use crate::secrets::{
    CaPair, ClusterSecrets, EtcdClient, MACHINE_GROUP, MachineIdentity, ServiceAccount,
};
use crate::types::Role;
use crate::write::Writer;

/// The few words a cluster is made from. What is none keeps the document's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterDescription {
    /// The cluster's name.
    pub name: String,
    /// Where everyone reaches the Kubernetes API, `host:port`.
    pub endpoint: String,
    /// The Kubernetes version, for example `v1.20.2`.
    pub kubernetes_version: String,
    /// The machines.
    pub nodes: Vec<NodeDescription>,
    /// Further names of the API servers' and the machine APIs' certificates.
    pub cert_sans: Vec<String>,
    /// The range of pod addresses, comma-separated for dual stack.
    pub pod_subnet: Option<String>,
    /// The range of service addresses, comma-separated for dual stack.
    pub service_subnet: Option<String>,
    /// The domain of services and pods.
    pub dns_domain: Option<String>,
    /// `bridge` or `none`.
    pub network_addon: Option<String>,
    /// `embedded` or a registry prefix.
    pub image: Option<String>,
    /// Whether pods may be scheduled on control plane machines.
    pub allow_scheduling_on_control_planes: bool,
    /// The subnets a node's own address is chosen from.
    pub node_subnets: Vec<String>,
    /// An address that control planes hold by turns; the endpoint leads to it.
    pub virtual_ip: Option<String>,
    /// Where an etcd outside the cluster serves clients, `https://host:port` each; empty: control
    /// planes run members of their own.
    pub etcd_endpoints: Vec<String>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDescription {
    /// Its name.
    pub hostname: String,
    /// What it is for.
    pub role: Role,
}

/// What was made for one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeDocuments {
    /// The machine's name.
    pub hostname: String,
    /// What it is for.
    pub role: Role,
    /// Its `MachineConfig`, without any secret.
    pub config: String,
    /// Its `ClusterSecrets`; a worker's has no key but that of its own identity.
    pub secrets: Secret,
}

impl NodeDocuments {
    /// Both documents as the one stream that a machine is given.
    #[must_use]
    pub fn stream(&self) -> Secret {
        Secret::new(format!("{}---\n{}", self.config, self.secrets.expose()))
    }
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A key or certificate could not be made.
    #[error("make the cluster's secrets")]
    Pki(#[from] PkiError),
    /// Two machines would be one node.
    #[error("make documents: the name {hostname:?} is given to two machines")]
    SameName {
        /// The name.
        hostname: String,
    },
    /// The description does not make a valid config.
    #[error("make the documents of {hostname:?}:\n{problems}")]
    Refused {
        /// The machine concerned.
        hostname: String,
        /// What is wrong, in the words of the document it would have become.
        problems: Problems,
    },
    /// The secrets lack keys, as a worker's do.
    #[error("make documents: the secrets are not the cluster's own: {missing} is missing")]
    Incomplete {
        /// The first that is missing.
        missing: &'static str,
    },
}

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
        kubernetes_ca: ca(AuthorityKind::Kubernetes)?,
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

/// Makes every machine's documents. The cluster's id comes from its machine authority, so that
/// machines added later with the same secrets belong to the same cluster.
///
/// # Errors
/// If the description does not make valid documents.
pub fn documents(
    cluster: &ClusterDescription,
    secrets: &ClusterSecrets,
    now: SystemTime,
) -> Result<Vec<NodeDocuments>, GenerateError> {
    let id = &cluster_id(secrets)?;
    let authority = authority(secrets)?;
    let full = write_secrets(&control_planes_part(
        secrets,
        !cluster.etcd_endpoints.is_empty(),
    )?);
    let mut bare = workers_part(secrets);
    let mut names = BTreeSet::new();
    let mut checked = BTreeSet::new();
    let mut made = Vec::with_capacity(cluster.nodes.len());
    for node in &cluster.nodes {
        if !names.insert(&node.hostname) {
            return Err(GenerateError::SameName {
                hostname: node.hostname.clone(),
            });
        }
        let documents = NodeDocuments {
            hostname: node.hostname.clone(),
            role: node.role,
            config: write_config(cluster, node, id),
            secrets: if node.role.is_control_plane() {
                full.clone()
            } else {
                bare.machine_identity = Some(identity(
                    &authority,
                    &node.hostname,
                    &cluster.cert_sans,
                    now,
                )?);
                write_secrets(&bare)
            },
        };
        // The secrets are the same for all of a role: proving their keys once each is enough.
        let first = checked.insert(node.role.as_str());
        let stream = if first {
            documents.stream()
        } else {
            Secret::new(documents.config.clone())
        };
        crate::read(stream.expose().as_bytes()).map_err(|problems| GenerateError::Refused {
            hostname: node.hostname.clone(),
            problems,
        })?;
        made.push(documents);
    }
    Ok(made)
}

/// The id that the secrets give a cluster.
///
/// # Errors
/// If their machine authority's certificate cannot be read.
pub fn cluster_id(secrets: &ClusterSecrets) -> Result<String, PkiError> {
    let mut digest = inspect(&secrets.machine_ca.certificate)?.spki_sha256;
    digest.truncate(32);
    Ok(digest)
}

/// Puts a config that was written otherwise together with the secrets of its role.
///
/// # Errors
/// If the config or the stream that it becomes part of is not valid.
pub fn with_secrets(
    config: String,
    secrets: &ClusterSecrets,
    now: SystemTime,
) -> Result<NodeDocuments, GenerateError> {
    let authority = authority(secrets)?;
    let refused = |hostname: &str| {
        let hostname = hostname.to_owned();
        move |problems| GenerateError::Refused { hostname, problems }
    };
    let bundle = crate::read(config.as_bytes()).map_err(refused("the machine"))?;
    let hostname = bundle.config.hostname().to_string();
    let role = bundle.config.role();
    let part = if role.is_control_plane() {
        let external = bundle.config.external_etcd().is_some();
        write_secrets(&control_planes_part(secrets, external)?)
    } else {
        let sans = bundle.config.cert_sans().iter().map(ToString::to_string);
        let sans = sans.collect::<Vec<_>>();
        let mut bare = workers_part(secrets);
        bare.machine_identity = Some(identity(&authority, &hostname, &sans, now)?);
        write_secrets(&bare)
    };
    let documents = NodeDocuments {
        hostname,
        role,
        config,
        secrets: part,
    };
    let stream = documents.stream();
    crate::read(stream.expose().as_bytes()).map_err(refused(&documents.hostname))?;
    Ok(documents)
}

/// The machine authority of secrets that lack nothing.
fn authority(secrets: &ClusterSecrets) -> Result<Authority, GenerateError> {
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
    } else if keyless(Some(&secrets.kubernetes_ca)) {
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
fn identity(
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
fn control_planes_part(
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

/// What every worker may hold: two certificates to trust, and the token its kubelet begins with.
fn workers_part(secrets: &ClusterSecrets) -> ClusterSecrets {
    let public = |ca: &CaPair| CaPair {
        certificate: ca.certificate.clone(),
        key: None,
    };
    ClusterSecrets {
        machine_ca: public(&secrets.machine_ca),
        kubernetes_ca: public(&secrets.kubernetes_ca),
        etcd_ca: None,
        external_etcd: None,
        front_proxy_ca: None,
        service_account: None,
        machine_identity: None,
        bootstrap_token: secrets.bootstrap_token.clone(),
        encryption_key: None,
    }
}

fn write_secrets(secrets: &ClusterSecrets) -> Secret {
    let mut out = Writer::document(crate::document::CLUSTER_SECRETS);
    let cas = [
        ("machineCA", Some(&secrets.machine_ca)),
        ("kubernetesCA", Some(&secrets.kubernetes_ca)),
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

fn write_config(cluster: &ClusterDescription, node: &NodeDescription, id: &str) -> String {
    let mut out = Writer::document(crate::document::MACHINE_CONFIG);
    out.section(0, "machine");
    out.text(2, "role", node.role.as_str());
    out.text(2, "hostname", &node.hostname);
    if !cluster.node_subnets.is_empty() {
        out.section(2, "nodeAddress");
        out.list(4, "subnets", &cluster.node_subnets);
    }
    out.list(2, "certSANs", &cluster.cert_sans);
    out.section(0, "cluster");
    out.text(2, "name", &cluster.name);
    out.text(2, "id", id);
    out.text(2, "controlPlaneEndpoint", &cluster.endpoint);
    if let Some(address) = &cluster.virtual_ip {
        out.section(2, "virtualIP");
        out.text(4, "address", address);
    }
    out.text(2, "kubernetesVersion", &cluster.kubernetes_version);
    let ranges = [
        ("podSubnet", &cluster.pod_subnet),
        ("serviceSubnet", &cluster.service_subnet),
        ("dnsDomain", &cluster.dns_domain),
    ];
    if ranges.iter().any(|(_, value)| value.is_some()) {
        out.section(2, "networking");
        for (name, value) in ranges {
            if let Some(value) = value {
                out.text(4, name, value);
            }
        }
    }
    if !cluster.cert_sans.is_empty() {
        out.section(2, "apiServer");
        out.list(4, "certSANs", &cluster.cert_sans);
    }
    if !cluster.etcd_endpoints.is_empty() {
        out.section(2, "etcd");
        out.section(4, "external");
        out.list(6, "endpoints", &cluster.etcd_endpoints);
    }
    if let Some(addon) = &cluster.network_addon {
        out.section(2, "networkAddon");
        out.text(4, "type", addon);
    }
    if let Some(image) = &cluster.image {
        out.text(2, "image", image);
    }
    if cluster.allow_scheduling_on_control_planes {
        out.flag(2, "allowSchedulingOnControlPlanes");
    }
    out.finish()
}
