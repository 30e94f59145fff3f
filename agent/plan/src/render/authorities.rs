//! What a node is trusted with: the authorities, and for a worker the token to ask for a leaf.

use machine_config::{CaPair, ClusterSecrets, MachineConfig, Role};

use super::kubeconfig::bootstrap_kubeconfig;
use super::{PKI, api_url};
use crate::files::RenderedFile;

/// With what a worker's kubelet asks for its first certificate.
pub const BOOTSTRAP_KUBECONFIG: &str = "/etc/kubernetes/bootstrap-kubelet.conf";

/// The authorities' files.
///
/// A control plane gets every authority that Kubernetes and etcd read, with its key, and the
/// service-account key pair; of an external etcd it gets the authority's certificate and what makes a
/// client, where kubeadm has both too. A worker gets the Kubernetes authority's certificate, no key, and a
/// [`BOOTSTRAP_KUBECONFIG`] if there is a token: its kubelet reads that until it has a
/// certificate of its own, and after each boot to write `kubelet.conf` anew, for which the token
/// need not be valid any more. A machine of role `etcd` gets the certificate of etcd's. The machine
/// API's authority is no file: the agent holds it.
#[must_use]
pub fn authorities(config: &MachineConfig, secrets: &ClusterSecrets) -> Vec<RenderedFile> {
    match config.role() {
        Role::ControlPlane => control_plane(secrets),
        Role::Worker => worker(config, secrets),
        // What signs its leaves the agent holds, as the machine API's.
        Role::Etcd => etcd(secrets),
    }
}

fn control_plane(secrets: &ClusterSecrets) -> Vec<RenderedFile> {
    let mut files = Vec::new();
    let pairs = [
        ("ca", secrets.kubernetes_ca.as_ref()),
        ("front-proxy-ca", secrets.front_proxy_ca.as_ref()),
        ("etcd/ca", secrets.etcd_ca.as_ref()),
    ];
    for (name, pair) in pairs {
        let Some(pair) = pair else { continue };
        files.push(certificate(name, pair));
        if let Some(key) = &pair.key {
            files.push(RenderedFile::secret(
                format!("{PKI}/{name}.key"),
                key.clone(),
            ));
        }
    }
    if let Some(client) = &secrets.external_etcd {
        files.push(RenderedFile::public(
            format!("{PKI}/etcd/ca.crt"),
            client.ca.as_str(),
        ));
        let path = |end: &str| format!("{PKI}/apiserver-etcd-client.{end}");
        files.push(RenderedFile::public(
            path("crt"),
            client.certificate.as_str(),
        ));
        files.push(RenderedFile::secret(path("key"), client.key.clone()));
    }
    if let Some(account) = &secrets.service_account {
        if let Some(key) = &account.key {
            files.push(RenderedFile::secret(format!("{PKI}/sa.key"), key.clone()));
        }
        files.push(RenderedFile::private(
            format!("{PKI}/sa.pub"),
            account.public.as_str(),
        ));
    }
    files
}

fn worker(config: &MachineConfig, secrets: &ClusterSecrets) -> Vec<RenderedFile> {
    let Some(authority) = &secrets.kubernetes_ca else {
        return Vec::new();
    };
    let mut files = vec![certificate("ca", authority)];
    if let Some(token) = &secrets.bootstrap_token {
        let text = bootstrap_kubeconfig(
            config.cluster_name(),
            &api_url(config),
            &authority.certificate,
            token,
        );
        files.push(RenderedFile::secret(BOOTSTRAP_KUBECONFIG, text));
    }
    files
}

fn etcd(secrets: &ClusterSecrets) -> Vec<RenderedFile> {
    let authority = secrets.etcd_ca.iter();
    authority.map(|pair| certificate("etcd/ca", pair)).collect()
}

fn certificate(name: &str, pair: &CaPair) -> RenderedFile {
    RenderedFile::public(format!("{PKI}/{name}.crt"), pair.certificate.as_str())
}
