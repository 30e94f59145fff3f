//! The machine API's own certificate: made in memory, never written, renewed at
//! half life or when the machine's addresses change.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use machine_config::{MachineConfig, San};
use machine_pki::{AuthorityKind, Issued, LeafRequest, Usage};

use crate::ledger::Entry;
use crate::node::certs;

/// What the certificate is for: it changes when this does.
pub fn request(config: &MachineConfig, addresses: &[IpAddr]) -> LeafRequest {
    let hostname = config.hostname().to_string();
    let mut dns = BTreeSet::from([hostname.clone()]);
    let mut ips = BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    ips.extend(addresses);
    for san in config.cert_sans() {
        match san {
            San::Dns(name) => drop(dns.insert(name.clone())),
            San::Ip(ip) => drop(ips.insert(*ip)),
        }
    }
    LeafRequest {
        common_name: hostname,
        organizations: vec!["machined:node".to_owned()],
        usage: Usage::Both,
        dns,
        ips,
        lifetime: machine_pki::leaf::Lifetime::MACHINE_API,
    }
}

/// When the present certificate is renewed.
pub const RENEWAL: Duration = Duration::from_secs(machine_pki::leaf::Lifetime::MACHINE_API.as_secs() / 2);

/// A new key and certificate.
pub fn issue(entry: &Entry, request: &LeafRequest) -> Result<Issued, String> {
    let secrets = entry.bundle.secrets.as_ref().ok_or("this machine has no secrets")?;
    let authority = certs::authority(secrets, AuthorityKind::Machine)?;
    authority.issue(request, SystemTime::now()).map_err(|e| e.to_string())
}
