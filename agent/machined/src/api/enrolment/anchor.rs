//! What a machine without a config is known by.

use machine_pki::code::EnrolmentCode;
use machine_pki::{Secret, inspect, issued_by, key_matches};

use crate::api::tls::Credentials;

/// Why a trust anchor cannot be used. The machine then falls back to nothing: a damaged anchor is
/// an attack or a mistake, and both want a person.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// Not the three parts.
    #[error(
        "the enrolment bundle has {certificates} certificates and {keys} keys; it needs the machine's certificate, the machine authority's, and one key"
    )]
    Parts {
        /// Certificates found.
        certificates: usize,
        /// Keys found.
        keys: usize,
    },
    /// A certificate that is none.
    #[error("the enrolment bundle has an unreadable certificate")]
    Certificate(#[source] machine_pki::PkiError),
    /// None, or both, of the certificates are an authority's.
    #[error("one certificate of the enrolment bundle must be an authority's, the other not")]
    Authority,
    /// The authority did not sign the other one.
    #[error("the enrolment bundle's certificate is not issued by the authority beside it")]
    Issuer,
    /// The key is another one's.
    #[error("the enrolment bundle's key does not belong to its certificate")]
    Key,
}

/// How both ends prove themselves.
pub enum Anchor {
    /// By certificates: an anchor was given to the machine before boot.
    Credential(Credentials),
    /// By a code that only people at the console see.
    Code {
        /// Puts the code on the console; called again when it is exchanged.
        show: Box<dyn Fn(&EnrolmentCode) + Send + Sync>,
    },
}

impl Anchor {
    /// Reads an enrolment bundle: PEM of the machine's certificate, the machine authority's, and
    /// the key of the former, in any order.
    pub fn from_bundle(bundle: &Secret) -> Result<Self, AnchorError> {
        let blocks = blocks(bundle.expose());
        let (certificates, keys): (Vec<_>, Vec<_>) = blocks
            .into_iter()
            .partition(|block| block.starts_with("-----BEGIN CERTIFICATE-----"));
        let ([one, other], [key]) = (certificates.as_slice(), keys.as_slice()) else {
            let (certificates, keys) = (certificates.len(), keys.len());
            return Err(AnchorError::Parts { certificates, keys });
        };
        let is_authority = |pem: &str| inspect(pem).map(|facts| facts.is_ca);
        let one_is = is_authority(one).map_err(AnchorError::Certificate)?;
        let other_is = is_authority(other).map_err(AnchorError::Certificate)?;
        let (leaf, authority) = match (one_is, other_is) {
            (false, true) => (*one, *other),
            (true, false) => (*other, *one),
            _ => return Err(AnchorError::Authority),
        };
        let key = Secret::new((*key).to_owned());
        if !issued_by(leaf, authority) {
            return Err(AnchorError::Issuer);
        }
        if !key_matches(leaf, &key) {
            return Err(AnchorError::Key);
        }
        Ok(Self::Credential(Credentials {
            certificate_pem: leaf.to_owned(),
            key,
            client_authority_pem: Some(authority.to_owned()),
        }))
    }
}

// Whole PEM blocks; text around them is a comment.
fn blocks(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        let block = &rest[start..];
        let Some(end) = block.find("-----END ") else {
            break;
        };
        let tail = &block[end..];
        let length = end + tail.find('\n').map_or(tail.len(), |newline| newline + 1);
        found.push(&block[..length]);
        rest = &block[length..];
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use machine_pki::{Authority, AuthorityKind, LeafRequest, Usage};

    use super::*;

    fn authority() -> Authority {
        Authority::generate(AuthorityKind::Machine, SystemTime::now()).unwrap()
    }

    fn leaf(authority: &Authority) -> (String, String) {
        let request = LeafRequest {
            common_name: "machined-enrolment".to_owned(),
            organizations: Vec::new(),
            usage: Usage::Server,
            dns: ["machined-enrolment".to_owned()].into(),
            ips: [].into(),
            lifetime: Duration::from_secs(3600),
        };
        let issued = authority.issue(&request, SystemTime::now()).unwrap();
        (issued.certificate_pem, issued.key.expose().to_owned())
    }

    fn read(parts: &[&str]) -> Result<Credentials, AnchorError> {
        match Anchor::from_bundle(&Secret::new(parts.join("\n")))? {
            Anchor::Credential(credentials) => Ok(credentials),
            Anchor::Code { .. } => unreachable!("a bundle is no code"),
        }
    }

    #[test]
    fn parts_may_come_in_any_order_and_must_fit() {
        let (ours, theirs) = (authority(), authority());
        let (certificate, key) = leaf(&ours);
        let (_, other_key) = leaf(&ours);
        let ca = ours.certificate_pem();
        for order in [[&*certificate, ca, &*key], [&*key, ca, &*certificate]] {
            let credentials = read(&order).unwrap();
            assert_eq!(credentials.certificate_pem.trim(), certificate.trim());
            assert_eq!(credentials.client_authority_pem.unwrap().trim(), ca.trim());
        }
        let refused = |parts: &[&str]| read(parts).err().unwrap();
        assert!(matches!(
            refused(&[&certificate, theirs.certificate_pem(), &key]),
            AnchorError::Issuer
        ));
        assert!(matches!(
            refused(&[&certificate, ca, &other_key]),
            AnchorError::Key
        ));
        assert!(matches!(
            refused(&[&certificate, &certificate, &key]),
            AnchorError::Authority
        ));
        assert!(matches!(
            refused(&[&certificate, &key]),
            AnchorError::Parts {
                certificates: 1,
                keys: 1
            }
        ));
        assert!(matches!(
            refused(&["-----BEGIN "]),
            AnchorError::Parts { .. }
        ));
    }
}
