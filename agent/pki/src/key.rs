//! Private keys: made here, or read from what other tools wrote.

use data_encoding::BASE64;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::{PkiError, Secret};

/// A new P-256 key; wiped when dropped.
pub(crate) fn generate() -> Result<Zeroizing<KeyPair>, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map(Zeroizing::new)
        .map_err(|error| PkiError::Key {
            problem: error.to_string(),
        })
}

/// Reads the first private key in the text: PKCS#8, SEC1 or PKCS#1.
///
/// Other sections are passed over: `openssl ecparam -genkey` writes `EC PARAMETERS` first.
pub(crate) fn from_pem(pem: &Secret) -> Result<Zeroizing<KeyPair>, PkiError> {
    let pem = pem.expose();
    if pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || pem.contains("4,ENCRYPTED") {
        let problem = "the key is encrypted with a passphrase; give it unencrypted".to_owned();
        return Err(PkiError::Key { problem });
    }
    let der: Zeroizing<PrivateKeyDer<'static>> = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map(Zeroizing::new)
        .map_err(|error| PkiError::Pem {
            what: "a private key",
            problem: error.to_string(),
        })?;
    KeyPair::try_from(&*der)
        .map(Zeroizing::new)
        .map_err(|error| PkiError::Key {
            problem: format!("no ECDSA, Ed25519 or RSA (2048 bits or more) key: {error}"),
        })
}

/// The PKCS#8 PEM text of a key made by [`generate`].
///
/// Written here and not with the library's own writer, whose buffers are not wiped.
pub(crate) fn to_pem(key: &KeyPair) -> Secret {
    let body = Zeroizing::new(BASE64.encode(key.serialized_der()));
    let mut text = String::with_capacity(body.len() + 128);
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    Secret::new(text)
}
