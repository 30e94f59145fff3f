//! Authorities that exist already, read with distrust.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use rcgen::KeyPair;
use x509_parser::x509::X509Name;

use crate::authority::{Authority, AuthorityKind};
use crate::leaf::{LeafRequest, Lifetime, Usage};
use crate::sign::Life;
use crate::{PkiError, Secret, inspect, key};

impl Authority {
    /// Reads an authority that exists: exactly one certificate, and its key.
    ///
    /// # Errors
    /// If the certificate is not an authority's, the key is not its key, or what it signs would
    /// not verify against it.
    pub fn from_pem(
        kind: AuthorityKind,
        certificate_pem: &str,
        key_pem: &Secret,
    ) -> Result<Self, PkiError> {
        if certificate_pem
            .matches("-----BEGIN CERTIFICATE-----")
            .count()
            > 1
        {
            return Err(PkiError::Bundle { kind });
        }
        let der = inspect::first_der(certificate_pem)?;
        let certificate = inspect::parse(&der)?;
        let facts = inspect::facts(&certificate)?;
        let not_an_authority = |problem| PkiError::NotAnAuthority {
            kind,
            common_name: facts.common_name.clone(),
            problem,
        };
        if !facts.is_ca {
            return Err(not_an_authority("its basic constraints do not say CA:TRUE"));
        }
        if let Ok(Some(usage)) = certificate.key_usage()
            && !usage.value.key_cert_sign()
        {
            return Err(not_an_authority(
                "its key usage does not allow signing certificates",
            ));
        }
        if let Some(problem) = unsupported_name(certificate.subject()) {
            return Err(PkiError::Unusable { kind, problem });
        }
        let pair = key::from_pem(key_pem)?;
        if certificate.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err(PkiError::KeyMismatch { kind });
        }
        let authority = Self {
            kind,
            certificate_pem: certificate_pem.to_owned(),
            key: key_pem.clone(),
            not_before: facts.not_before,
            not_after: facts.not_after,
        };
        authority.try_out(&pair)?;
        Ok(authority)
    }

    /// Signs a throw-away leaf for its own key: a name that does not survive the round trip or
    /// an algorithm that nobody here verifies shows now, not when a node refuses its peers.
    fn try_out(&self, pair: &KeyPair) -> Result<(), PkiError> {
        let request = LeafRequest {
            common_name: "trial".to_owned(),
            organizations: Vec::new(),
            usage: Usage::Client,
            dns: BTreeSet::new(),
            ips: BTreeSet::new(),
            lifetime: Duration::from_secs(1),
        };
        let epoch = UNIX_EPOCH + Lifetime::CLOCK_SKEW;
        let life = Life {
            not_before: epoch,
            not_after: epoch,
        };
        let leaf = self.sign(&request, life, pair, false)?;
        if inspect::issued_by(&leaf, &self.certificate_pem) {
            Ok(())
        } else {
            let problem = "its name or its algorithm is not supported";
            Err(PkiError::Unusable {
                kind: self.kind,
                problem,
            })
        }
    }
}

/// Why a name cannot be written again by the signing library, which keeps one value per kind of
/// attribute, gives up on several in one place, and panics on object identifiers that only a
/// damaged certificate has.
fn unsupported_name(name: &X509Name<'_>) -> Option<&'static str> {
    let mut kinds = Vec::new();
    for part in name.iter() {
        let attributes: Vec<_> = part.iter().map(|a| a.attr_type().to_id_string()).collect();
        let [kind] = attributes.as_slice() else {
            return Some("its name has several values in one place");
        };
        // X.520's attributes, and e-mail.
        if !kind.starts_with("2.5.4.") && kind != "1.2.840.113549.1.9.1" {
            return Some("its name has an attribute of an unknown kind");
        }
        if kinds.contains(kind) {
            return Some("its name has several values of one kind");
        }
        kinds.extend(attributes);
    }
    None
}
