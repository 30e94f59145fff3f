//! Documents made from a few words: the cluster's secrets once, then one stream per machine.
//!
//! Everything made here has passed [`crate::read`], so a machine never refuses what this makes.
//! Apart from the secrets, which are random, the same words give the same text.

mod config;
mod secrets;

use std::collections::BTreeSet;
use std::time::SystemTime;

use machine_pki::{PkiError, Secret, inspect};

use crate::problem::Problems;
use crate::secrets::ClusterSecrets;
use crate::types::Role;
use config::write_config;
use secrets::{authority, control_planes_part, etcds_part, identity, workers_part, write_secrets};
pub use secrets::{secrets, secrets_with};

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
    /// The addresses of control planes, as far as they are known; of use where there are several.
    pub control_planes: Vec<String>,
    /// An address that control planes hold by turns; the endpoint leads to it.
    pub virtual_ip: Option<String>,
    /// Where an etcd outside the cluster serves clients, `https://host:port` each; empty: control
    /// planes run members of their own.
    pub etcd_endpoints: Vec<String>,
    /// The addresses of the machines of role `etcd`; empty: there are none.
    pub etcd_members: Vec<String>,
    /// `pod` or `unit`: as what a control plane's member of etcd runs.
    pub etcd_run_as: Option<String>,
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
            secrets: match node.role {
                Role::ControlPlane => full.clone(),
                Role::Etcd => write_secrets(&etcds_part(secrets)?),
                Role::Worker => {
                    bare.machine_identity = Some(identity(
                        &authority,
                        &node.hostname,
                        &cluster.cert_sans,
                        now,
                    )?);
                    write_secrets(&bare)
                }
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
    let part = match role {
        Role::ControlPlane => {
            let external = bundle.config.external_etcd().is_some();
            write_secrets(&control_planes_part(secrets, external)?)
        }
        Role::Etcd => write_secrets(&etcds_part(secrets)?),
        Role::Worker => {
            let sans = bundle.config.cert_sans().iter().map(ToString::to_string);
            let sans = sans.collect::<Vec<_>>();
            let mut bare = workers_part(secrets);
            bare.machine_identity = Some(identity(&authority, &hostname, &sans, now)?);
            write_secrets(&bare)
        }
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
