//! The valid form of the cluster's secrets.

use machine_pki::{Authority, AuthorityKind, Secret};

/// The group (O=) of a machine's own certificate, on whichever role.
pub const MACHINE_GROUP: &str = "machined:node";

/// The cluster's secrets as one machine holds them. Built only by [`crate::read`] and
/// [`crate::read_secrets`].
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSecrets {
    /// The authority of the machine API.
    pub machine_ca: CaPair,
    /// The authority of the Kubernetes API; there unless the machine is of role `etcd`.
    pub kubernetes_ca: Option<CaPair>,
    /// The authority of etcd; on a control plane machine there unless etcd is external, always on one of
    /// role `etcd`, never on a worker.
    pub etcd_ca: Option<CaPair>,
    /// What API servers show an external etcd; on a control plane machine there if etcd is external,
    /// never on a worker.
    pub external_etcd: Option<EtcdClient>,
    /// The authority of aggregation clients; on control plane machines alone.
    pub front_proxy_ca: Option<CaPair>,
    /// The key pair of service account tokens; as `front_proxy_ca`.
    pub service_account: Option<ServiceAccount>,
    /// What a worker is known by at first; never on any other machine.
    pub machine_identity: Option<MachineIdentity>,
    /// The token new nodes first speak to the cluster with.
    pub bootstrap_token: Option<Secret>,
    /// The key that encrypts Kubernetes Secrets inside etcd, base64 of 32 bytes.
    pub encryption_key: Option<Secret>,
}

/// A certificate authority, with its key where the machine may sign.
#[derive(Debug, Clone, PartialEq)]
pub struct CaPair {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PEM; always there on a machine that may sign, never on a worker.
    pub key: Option<Secret>,
}

/// What makes a client of an etcd that somebody else runs.
#[derive(Debug, Clone, PartialEq)]
pub struct EtcdClient {
    /// The certificate of the authority that vouches for its servers, PEM.
    pub ca: String,
    /// The client certificate, PEM.
    pub certificate: String,
    /// The private key, PEM.
    pub key: Secret,
}

/// A worker's certificate in its own name, with its key.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineIdentity {
    /// The certificate, PEM, for serving the machine API and for asking control planes.
    pub certificate: String,
    /// The private key, PEM.
    pub key: Secret,
}

/// The key pair of service account tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceAccount {
    /// The private key, PEM; always there on a control plane machine.
    pub key: Option<Secret>,
    /// The public key, PEM.
    pub public: String,
}

impl ClusterSecrets {
    /// The certificate, and the key where the machine may sign, of one authority.
    #[must_use]
    pub fn ca(&self, kind: AuthorityKind) -> Option<&CaPair> {
        match kind {
            AuthorityKind::Machine => Some(&self.machine_ca),
            AuthorityKind::Kubernetes => self.kubernetes_ca.as_ref(),
            AuthorityKind::Etcd => self.etcd_ca.as_ref(),
            AuthorityKind::FrontProxy => self.front_proxy_ca.as_ref(),
        }
    }

    /// One authority, ready to sign; none on a worker.
    #[must_use]
    pub fn authority(&self, kind: AuthorityKind) -> Option<Authority> {
        let pair = self.ca(kind)?;
        Authority::from_pem(kind, &pair.certificate, pair.key.as_ref()?).ok()
    }
}
