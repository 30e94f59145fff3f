//! The key that signs service-account tokens.

use rcgen::{KeyPair, PublicKeyData, SubjectPublicKeyInfo};

use crate::{PkiError, Secret, key};

/// The service-account key pair: `sa.key` and `sa.pub`.
///
/// New ones are ECDSA P-256 (tokens are then ES256, which every supported kube-apiserver signs
/// and verifies); an imported cluster's RSA key works as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountKey {
    /// The private key, PEM as made or as given.
    pub key: Secret,
    /// The public key, PEM (`PUBLIC KEY`).
    pub public_pem: String,
}

impl ServiceAccountKey {
    /// A new key pair.
    ///
    /// # Errors
    /// If the key cannot be made.
    pub fn generate() -> Result<Self, PkiError> {
        let pair = key::generate()?;
        Ok(Self {
            key: key::to_pem(&pair),
            public_pem: public_pem(&pair),
        })
    }

    /// The pair of a private key in PKCS#8, SEC1 or PKCS#1 PEM.
    ///
    /// # Errors
    /// If the text holds no such key.
    pub fn from_pem(key_pem: &Secret) -> Result<Self, PkiError> {
        let pair = key::from_pem(key_pem)?;
        Ok(Self {
            key: key_pem.clone(),
            public_pem: public_pem(&pair),
        })
    }

    /// True if `public_pem` is the public half of this key.
    #[must_use]
    pub fn matches(&self, public_pem: &str) -> bool {
        let bits = |pem: &str| {
            SubjectPublicKeyInfo::from_pem(pem)
                .ok()
                .map(|k| k.der_bytes().to_vec())
        };
        let theirs = bits(public_pem);
        theirs.is_some() && theirs == bits(&self.public_pem)
    }
}

fn public_pem(pair: &KeyPair) -> String {
    pair.public_key_pem()
}
