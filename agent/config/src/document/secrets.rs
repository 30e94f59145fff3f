//! The secrets, a document of their own.

use machine_pki::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{API_VERSION, CLUSTER_SECRETS};

/// The cluster's secrets. Keep it apart from the `MachineConfig`; no answer of the API shows it.
///
/// A control plane machine needs every key, to sign certificates. A worker must hold none: its
/// document has only the certificates of `machineCA` and `kubernetesCA`, its own `machineIdentity`
/// and the bootstrap token. A machine of role `etcd` has `machineCA` and `etcdCA` with their keys, and
/// nothing else.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ClusterSecrets")]
pub(crate) struct SecretsDocument {
    /// Always `machined/v1`.
    #[schemars(extend("const" = API_VERSION))]
    #[allow(dead_code, reason = "judged before the shape is")]
    pub(crate) api_version: String,
    /// Always `ClusterSecrets`.
    #[schemars(extend("const" = CLUSTER_SECRETS))]
    #[allow(dead_code, reason = "judged before the shape is")]
    pub(crate) kind: String,
    /// The authority of the machine API: its servers and its clients.
    #[serde(rename = "machineCA")]
    pub(crate) machine_ca: CaSection,
    /// The authority of the Kubernetes API. Missing on a machine of role `etcd` alone.
    #[serde(rename = "kubernetesCA")]
    pub(crate) kubernetes_ca: Option<CaSection>,
    /// The authority of etcd's servers, peers and clients. Not wanted with `cluster.etcd.external`.
    #[serde(rename = "etcdCA")]
    pub(crate) etcd_ca: Option<CaSection>,
    /// What API servers need to be clients of an etcd outside the cluster. Required on a control plane
    /// machine with `cluster.etcd.external`, refused on any other.
    pub(crate) external_etcd: Option<EtcdClientSection>,
    /// The authority of the API server's aggregation clients.
    #[serde(rename = "frontProxyCA")]
    pub(crate) front_proxy_ca: Option<CaSection>,
    /// The key pair that signs service account tokens.
    pub(crate) service_account: Option<ServiceAccountSection>,
    /// What a worker is known by until a control plane machine has signed a key of its own. For one
    /// machine alone; refused on any that holds the key of `machineCA`, which makes its own.
    pub(crate) machine_identity: Option<IdentitySection>,
    /// The token a new node first speaks to the cluster with, `abcdef.0123456789abcdef`.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) bootstrap_token: Option<Secret>,
    /// The key that encrypts Kubernetes Secrets inside etcd: 32 bytes in base64.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) encryption_key: Option<Secret>,
}

/// What one worker is known by at first: a certificate in its name, for its own machine API and to
/// ask a control plane machine for another.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "MachineIdentity")]
pub(crate) struct IdentitySection {
    /// The certificate, PEM, signed by `machineCA`; its common name is the machine's hostname.
    pub(crate) certificate: String,
    /// Its private key, PEM (PKCS#8).
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub(crate) key: Secret,
}

/// What API servers need to be clients of an etcd outside the cluster. Its operator gives it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ExternalEtcdClient")]
pub(crate) struct EtcdClientSection {
    /// The certificate of the authority that vouches for that etcd's servers, PEM.
    pub(crate) ca: String,
    /// The client certificate, PEM.
    pub(crate) certificate: String,
    /// Its private key, PEM.
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub(crate) key: Secret,
}

/// A certificate authority.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "CertificateAuthority")]
pub(crate) struct CaSection {
    /// The certificate, PEM.
    pub(crate) certificate: String,
    /// Its private key, PEM (PKCS#8). Required on a control plane machine, refused on a worker.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) key: Option<Secret>,
}

/// The key pair that signs service account tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "ServiceAccount")]
pub(crate) struct ServiceAccountSection {
    /// The private key, PEM. Required on a control plane machine, refused on a worker.
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub(crate) key: Option<Secret>,
    /// The public key, PEM.
    pub(crate) public: String,
}
