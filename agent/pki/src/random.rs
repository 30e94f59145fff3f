//! Random text from the operating system's generator.

use aws_lc_rs::rand;
use data_encoding::{BASE64, HEXLOWER};
use zeroize::Zeroizing;

use crate::{PkiError, Secret};

/// The alphabet of bootstrap tokens, kubeadm's: `[a-z0-9]`.
const TOKEN_ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Random bytes for `what`.
pub(crate) fn bytes<const N: usize>(what: &'static str) -> Result<[u8; N], PkiError> {
    let mut bytes = [0_u8; N];
    rand::fill(&mut bytes).map_err(|_| PkiError::Random { what })?;
    Ok(bytes)
}

/// A new bootstrap token, `abcdef.0123456789abcdef`: 6 public and 16 secret characters.
///
/// # Errors
/// If the operating system gives no random bytes.
pub fn random_token() -> Result<Secret, PkiError> {
    let id = token_text::<6>()?;
    let secret = token_text::<16>()?;
    Ok(Secret::new(format!("{}.{}", *id, *secret)))
}

/// A new 32-byte key for Kubernetes' encryption at rest, base64.
///
/// # Errors
/// If the operating system gives no random bytes.
pub fn random_encryption_key() -> Result<Secret, PkiError> {
    let key = Zeroizing::new(bytes::<32>("an encryption key")?);
    Ok(Secret::new(BASE64.encode(&*key)))
}

/// A new 16-byte identity, hex. Not a secret.
///
/// # Errors
/// If the operating system gives no random bytes.
pub fn random_id() -> Result<String, PkiError> {
    Ok(HEXLOWER.encode(&bytes::<16>("an id")?))
}

fn token_text<const N: usize>() -> Result<Zeroizing<String>, PkiError> {
    let mut text = Zeroizing::new(String::with_capacity(N));
    while text.len() < N {
        let [byte] = bytes::<1>("a bootstrap token")?;
        // 252 is the largest multiple of 36 in a byte: what is above would favour some letters.
        if byte < 252 {
            text.push(char::from(TOKEN_ALPHABET[usize::from(byte % 36)]));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_kubeadms_shape() {
        let token = random_token().unwrap();
        let (id, secret) = token.expose().split_once('.').unwrap();
        assert_eq!((id.len(), secret.len()), (6, 16));
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        assert!(id.chars().chain(secret.chars()).all(allowed));
        assert_ne!(token, random_token().unwrap());
    }

    #[test]
    fn keys_and_ids_have_their_length() {
        let key = random_encryption_key().unwrap();
        assert_eq!(BASE64.decode(key.expose().as_bytes()).unwrap().len(), 32);
        assert_eq!(random_id().unwrap().len(), 32);
    }
}
