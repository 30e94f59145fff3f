//! Reading certificates back: what they say, who signed them, whose key they hold.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::x509::AttributeTypeAndValue;

use crate::{PkiError, Secret, Usage, key};

/// What a certificate says, in the words that decisions are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// The subject's CN; empty if it has none.
    pub common_name: String,
    /// The subject's O values.
    pub organizations: Vec<String>,
    /// DNS names.
    pub dns: BTreeSet<String>,
    /// Addresses.
    pub ips: BTreeSet<IpAddr>,
    /// What TLS may use it for; none for an authority.
    pub usage: Option<Usage>,
    /// First second, unix time.
    pub not_before: i64,
    /// Last second, unix time.
    pub not_after: i64,
    /// True if it may sign others.
    pub is_ca: bool,
    /// SHA-256 of the public key, hex: what kubeadm's `--discovery-token-ca-cert-hash` pins.
    pub spki_sha256: String,
    /// The issuer's CN; empty if it has none.
    pub issuer_common_name: String,
    /// The serial number, hex.
    pub serial: String,
    /// Which key signed it, hex.
    pub authority_key_id: Option<String>,
    /// Its own key's id, hex.
    pub subject_key_id: Option<String>,
}

/// What a certificate says of its key; nothing here is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    /// OpenSSL's name of the kind, such as `id-ecPublicKey`; an object identifier if unknown.
    pub algorithm: String,
    /// Key usages in the order of their bits, in RFC 5280's words.
    pub usages: Vec<String>,
}

/// Reads what the first certificate in the text says of its key.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_key(pem: &str) -> Result<KeyFacts, PkiError> {
    const BITS: [&str; 9] = [
        "digitalSignature",
        "contentCommitment",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];
    const ALGORITHMS: [(&str, &str); 3] = [
        ("1.2.840.10045.2.1", "id-ecPublicKey"),
        ("1.2.840.113549.1.1.1", "rsaEncryption"),
        ("1.3.101.112", "ED25519"),
    ];
    let der = first_der(pem)?;
    let certificate = parse(&der)?;
    let flags = match certificate.key_usage() {
        Ok(usage) => usage.map_or(0, |usage| usage.value.flags),
        Err(error) => {
            return Err(PkiError::Certificate {
                problem: error.to_string(),
            });
        }
    };
    let id = certificate.public_key().algorithm.algorithm.to_id_string();
    let known = ALGORITHMS.iter().find(|(known, _)| *known == id);
    Ok(KeyFacts {
        algorithm: known.map_or(id.clone(), |(_, name)| (*name).to_owned()),
        usages: (0..9_u16)
            .zip(BITS)
            .filter(|(bit, _)| flags & (1 << bit) != 0)
            .map(|(_, name)| name.to_owned())
            .collect(),
    })
}

/// Reads the first certificate in the text.
///
/// # Errors
/// If there is none, or it is not well-formed. No input panics.
pub fn inspect(pem: &str) -> Result<CertificateFacts, PkiError> {
    facts(&parse(&first_der(pem)?)?)
}

/// True if the moment is within the life of the first certificate in the text.
#[must_use]
pub fn is_current(pem: &str, now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    inspect(pem).is_ok_and(|facts| facts.not_before <= now && now < facts.not_after)
}

/// Reads a certificate as TLS hands it over.
///
/// # Errors
/// If it is not well-formed. No input panics.
pub fn inspect_der(der: &[u8]) -> Result<CertificateFacts, PkiError> {
    facts(&parse(der)?)
}

/// True if the key of `ca_pem`'s certificate signed `certificate_pem`'s, in that one's name.
///
/// Dates are not looked at.
#[must_use]
pub fn issued_by(certificate_pem: &str, ca_pem: &str) -> bool {
    let (Ok(leaf), Ok(ca)) = (first_der(certificate_pem), first_der(ca_pem)) else {
        return false;
    };
    let (Ok(leaf), Ok(ca)) = (parse(&leaf), parse(&ca)) else {
        return false;
    };
    ca.is_ca()
        && leaf.issuer().as_raw() == ca.subject().as_raw()
        && leaf.verify_signature(Some(ca.public_key())).is_ok()
}

/// True if `key` is the private key of the certificate.
#[must_use]
pub fn key_matches(certificate_pem: &str, key: &Secret) -> bool {
    let Ok(der) = first_der(certificate_pem) else {
        return false;
    };
    let (Ok(certificate), Ok(pair)) = (parse(&der), key::from_pem(key)) else {
        return false;
    };
    certificate.public_key().subject_public_key.data.as_ref() == pair.public_key_raw()
}

pub(crate) fn first_der(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| PkiError::Pem {
        what: "a certificate",
        problem: error.to_string(),
    })
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    let refuse = |problem: String| PkiError::Certificate { problem };
    let (rest, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|error| refuse(error.to_string()))?;
    if !rest.is_empty() {
        return Err(refuse("bytes after its end".to_owned()));
    }
    Ok(certificate)
}

pub(crate) fn facts(certificate: &X509Certificate<'_>) -> Result<CertificateFacts, PkiError> {
    let mut facts = CertificateFacts {
        common_name: text(certificate.subject().iter_common_name().next()),
        organizations: certificate
            .subject()
            .iter_organization()
            .map(|organization| text(Some(organization)))
            .collect(),
        dns: BTreeSet::new(),
        ips: BTreeSet::new(),
        usage: None,
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        is_ca: certificate.is_ca(),
        spki_sha256: sha256_hex(certificate.public_key().raw),
        issuer_common_name: text(certificate.issuer().iter_common_name().next()),
        serial: HEXLOWER.encode(certificate.raw_serial()),
        authority_key_id: None,
        subject_key_id: None,
    };
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                names
                    .general_names
                    .iter()
                    .for_each(|name| add_name(&mut facts, name));
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                facts.usage = match (usage.server_auth, usage.client_auth) {
                    (true, true) => Some(Usage::Both),
                    (true, false) => Some(Usage::Server),
                    (false, true) => Some(Usage::Client),
                    (false, false) => None,
                };
            }
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                facts.authority_key_id = id.key_identifier.as_ref().map(|id| HEXLOWER.encode(id.0));
            }
            ParsedExtension::SubjectKeyIdentifier(id) => {
                facts.subject_key_id = Some(HEXLOWER.encode(id.0));
            }
            // A broken extension that decides names or usage must not read as "has none".
            ParsedExtension::ParseError { .. } => {
                let problem = format!("extension {} is malformed", extension.oid);
                return Err(PkiError::Certificate { problem });
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn add_name(facts: &mut CertificateFacts, name: &GeneralName<'_>) {
    match name {
        GeneralName::DNSName(name) => {
            facts.dns.insert((*name).to_owned());
        }
        GeneralName::IPAddress(bytes) => {
            if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
                facts.ips.insert(IpAddr::from(four));
            } else if let Ok(sixteen) = <[u8; 16]>::try_from(*bytes) {
                facts.ips.insert(IpAddr::from(sixteen));
            }
        }
        _ => {}
    }
}

pub(crate) fn text(attribute: Option<&AttributeTypeAndValue<'_>>) -> String {
    attribute
        .and_then(|attribute| attribute.as_str().ok())
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}
