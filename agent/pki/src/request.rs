//! Asking for a certificate without showing the key.

use rcgen::{CertificateParams, DistinguishedName, DnType};

use crate::{PkiError, Secret, key};

/// A certificate signing request and the key it is signed with.
#[derive(Debug, Clone)]
pub struct SigningRequest {
    /// PKCS#10, PEM. It names the common name and nothing else: what the certificate says is for
    /// whoever signs it to decide.
    pub csr_pem: String,
    /// The private key, PKCS#8 PEM; it stays where it was made.
    pub key: Secret,
}

impl SigningRequest {
    /// Makes a key and a request for it.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn generate(common_name: &str) -> Result<Self, PkiError> {
        let pair = key::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let failed = |error: rcgen::Error| PkiError::SigningRequest {
            problem: error.to_string(),
        };
        let csr = params.serialize_request(&*pair).map_err(failed)?;
        Ok(Self {
            csr_pem: csr.pem().map_err(failed)?,
            key: key::to_pem(&pair),
        })
    }
}
