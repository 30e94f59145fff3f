//! Certificates that are made on the workstation: clients' and enrolment bundles.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use machine_config::ClusterSecrets;
use machine_pki::{Authority, AuthorityKind, LeafRequest, Secret, Usage};

use crate::args::ClientRole;
use crate::context::Context;
use crate::failure::Failure;
use crate::target::Node;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A bundle is for one enrolment, soon; what leaks later is worth nothing.
const ENROLMENT_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Who a client certificate is for.
#[derive(Clone, Debug)]
pub struct Client {
    /// Whose it is, for the audit log.
    pub user: String,
    /// What it may do.
    pub role: ClientRole,
    /// How long it lives.
    pub lifetime: Duration,
}

impl Client {
    /// An administrator, for a year, named after who runs this.
    pub fn admin() -> Self {
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        Self {
            user: user.unwrap_or_else(|| "admin".into()),
            role: ClientRole::Admin,
            lifetime: DAY * 365,
        }
    }
}

fn authority(secrets: &ClusterSecrets) -> Result<Authority, Failure> {
    secrets.authority(AuthorityKind::Machine).ok_or_else(|| {
        Failure::refused("the secrets hold no key of the machine CA, as a worker's do")
            .next("use the cluster's own secrets file")
    })
}

/// A context with a new client certificate.
pub fn new_context(
    name: &str,
    nodes: Vec<Node>,
    secrets: &ClusterSecrets,
    client: &Client,
) -> Result<Context, Failure> {
    let authority = authority(secrets)?;
    let request = LeafRequest {
        common_name: client.user.clone(),
        organizations: vec![client.role.organization()],
        usage: Usage::Client,
        dns: BTreeSet::new(),
        ips: BTreeSet::new(),
        lifetime: client.lifetime,
    };
    let issued = authority
        .issue(&request, SystemTime::now())
        .map_err(|error| Failure::failed(format!("make a client certificate: {error}")))?;
    Ok(Context {
        name: name.to_owned(),
        nodes,
        ca: authority.certificate_pem().to_owned(),
        certificate: issued.certificate_pem,
        key: issued.key,
    })
}

/// What lets a machine prove itself at first boot: its leaf, the machine CA, the leaf's key.
pub fn enrolment_bundle(
    secrets: &ClusterSecrets,
    name: &str,
    ips: &[IpAddr],
) -> Result<Secret, Failure> {
    let authority = authority(secrets)?;
    let request = LeafRequest {
        common_name: name.to_owned(),
        organizations: vec!["machined:enrolment".into()],
        usage: Usage::Server,
        dns: BTreeSet::from([name.to_owned()]),
        ips: ips.iter().copied().collect(),
        lifetime: ENROLMENT_LIFETIME,
    };
    let issued = authority
        .issue(&request, SystemTime::now())
        .map_err(|error| {
            Failure::failed(format!("make the enrolment bundle of {name}: {error}"))
        })?;
    let mut bundle = String::new();
    for part in [
        &issued.certificate_pem,
        authority.certificate_pem(),
        issued.key.expose(),
    ] {
        bundle.push_str(part.trim_end());
        bundle.push('\n');
    }
    Ok(Secret::new(bundle))
}
