//! Who is at the other end of a connection, as TLS says it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use machine_config::MACHINE_GROUP;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::authz::Role;

/// The label under which both ends take the bytes that bind a code to their connection.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-machined-enrolment";

/// The exporter's length.
pub const EXPORTER_LENGTH: usize = 32;

/// The longest name kept of a certificate; X.520 allows 64 characters.
const NAME_LIMIT: usize = 128;

/// Who a verified client certificate names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The common name.
    pub name: String,
    /// The greatest role of its organizations.
    pub role: Option<Role>,
    /// For a machine of the cluster: what its certificate lets it answer to.
    pub machine: Option<MachineNames>,
}

/// The names that a machine's certificate holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineNames {
    /// DNS names.
    pub dns: BTreeSet<String>,
    /// Addresses.
    pub ips: BTreeSet<IpAddr>,
}

impl Identity {
    /// Reads a certificate that TLS has verified already.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let facts = machine_pki::inspect_der(certificate).ok()?;
        let printable = facts.common_name.chars().filter(|c| !c.is_control());
        let name: String = printable.take(NAME_LIMIT).collect();
        let is_machine = facts.organizations.iter().any(|o| o == MACHINE_GROUP);
        Some(Self {
            role: Role::of(facts.organizations.iter().map(String::as_str)),
            machine: is_machine.then_some(MachineNames {
                dns: facts.dns,
                ips: facts.ips,
            }),
            name: Some(name).filter(|name| !name.is_empty())?,
        })
    }
}

/// A connection's other end. Handlers find it among a request's extensions.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    remote: SocketAddr,
    identity: Option<Identity>,
    exporter: Zeroizing<[u8; EXPORTER_LENGTH]>,
    proved: AtomicBool,
}

impl Peer {
    /// A peer with a certificate has proved itself by it.
    pub fn new(
        remote: SocketAddr,
        identity: Option<Identity>,
        exporter: [u8; EXPORTER_LENGTH],
    ) -> Self {
        let proved = AtomicBool::new(identity.is_some());
        Self(Arc::new(Inner {
            remote,
            identity,
            exporter: Zeroizing::new(exporter),
            proved,
        }))
    }

    /// Its address.
    pub fn remote(&self) -> SocketAddr {
        self.0.remote
    }

    /// Who its certificate names; none in enrolment by code.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.identity.as_ref()
    }

    /// Bytes that only the two ends of this very connection know.
    pub fn exporter(&self) -> &[u8] {
        self.0.exporter.as_slice()
    }

    /// Whether it has shown who it is: by certificate, or by the code.
    pub fn proved(&self) -> bool {
        self.0.proved.load(Ordering::Acquire)
    }

    /// Remembers, for this connection only, that the code was right.
    pub fn set_proved(&self) {
        self.0.proved.store(true, Ordering::Release);
    }

    /// Its name in the ledger and the audit log.
    pub fn by(&self) -> String {
        match &self.0.identity {
            Some(identity) => identity.name.clone(),
            None if self.proved() => "enrolment code".to_owned(),
            None => "stranger".to_owned(),
        }
    }

    /// Its role's word in the audit log.
    pub fn role_word(&self) -> &'static str {
        self.0
            .identity
            .as_ref()
            .and_then(|i| i.role)
            .map_or("none", Role::word)
    }
}
