//! Encryption of Secrets at rest.

use machine_config::ClusterSecrets;
use machine_pki::Secret;

use super::ENCRYPTION_CONFIG;
use crate::files::RenderedFile;

/// The API server's encryption configuration, where the cluster has an encryption key.
///
/// `identity` comes last, so that Secrets written before there was a key can still be read.
#[must_use]
pub fn encryption(secrets: &ClusterSecrets) -> Option<RenderedFile> {
    let key = secrets.encryption_key.as_ref()?;
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources:
  - secrets
  providers:
  - secretbox:
      keys:
      - name: key1
        secret: {}
  - identity: {{}}
",
        key.expose()
    );
    Some(RenderedFile::secret(ENCRYPTION_CONFIG, Secret::new(text)))
}
