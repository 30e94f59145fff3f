//! Reading requests for certificates. Who signs reads the same bytes with another program, so whatever
//! two programs could read differently is refused here: names are only believed where writing them
//! again gives the same bytes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use data_encoding::BASE64;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::{ParsedCriAttribute, X509CriAttribute};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::PkiError;
use crate::inspect::text;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 0x04;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// The object identifier of alternative names, 2.5.29.17.
const ALTERNATIVE_NAMES: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];

/// What a request for a certificate asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFacts {
    /// The subject's CN values.
    pub common_names: Vec<String>,
    /// The subject's O values.
    pub organizations: Vec<String>,
    /// DNS names, as they are written.
    pub dns: BTreeSet<String>,
    /// Addresses; one of IPv4 that is written as one of IPv6 is one of IPv4.
    pub ips: BTreeSet<IpAddr>,
}

/// Reads a request whose own key has signed it, and that asks for nothing but a subject of CN and O,
/// DNS names and addresses.
///
/// # Errors
/// If it is none, asks for more, or could be read in another way too. No input panics.
pub fn inspect_request(pem: &str) -> Result<RequestFacts, PkiError> {
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| refuse(error.to_string()))?;
    if pem.trim_end() != block(&der) {
        return Err(refuse("it is not one plain block of PEM"));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(&der).map_err(|error| refuse(error.to_string()))?;
    if !rest.is_empty() {
        return Err(refuse("bytes after its end"));
    }
    request
        .verify_signature()
        .map_err(|error| refuse(error.to_string()))?;
    let info = &request.certification_request_info;
    let subject = &info.subject;
    let mut facts = RequestFacts {
        common_names: subject.iter_common_name().map(|n| text(Some(n))).collect(),
        organizations: subject.iter_organization().map(|n| text(Some(n))).collect(),
        ..RequestFacts::default()
    };
    let known = facts.common_names.len() + facts.organizations.len();
    if subject.iter_attributes().count() != known {
        return Err(refuse("its subject has more than CN and O"));
    }
    match info.attributes() {
        [] => {}
        [one] => facts.add(one)?,
        _ => return Err(refuse("it has more than one attribute")),
    }
    Ok(facts)
}

impl RequestFacts {
    fn add(&mut self, attribute: &X509CriAttribute<'_>) -> Result<(), PkiError> {
        let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() else {
            return Err(refuse("it has another attribute than extensions"));
        };
        let [extension] = asked.extensions.as_slice() else {
            return Err(refuse("it asks for more extensions than names"));
        };
        let ParsedExtension::SubjectAlternativeName(all) = extension.parsed_extension() else {
            return Err(refuse(format!("it asks for extension {}", extension.oid)));
        };
        let mut names = Vec::new();
        for name in &all.general_names {
            match name {
                GeneralName::DNSName(name) => {
                    names.extend(der(DNS_NAME, name.as_bytes()));
                    self.dns.insert((*name).to_owned());
                }
                GeneralName::IPAddress(bytes) => {
                    names.extend(der(IP_ADDRESS, bytes));
                    self.ips.insert(address(bytes)?);
                }
                _ => {
                    let why = "it asks for names that are neither DNS names nor addresses";
                    return Err(refuse(why));
                }
            }
        }
        let value = der(OCTETS, &der(SEQUENCE, &names));
        let extension = der(SEQUENCE, &[&ALTERNATIVE_NAMES[..], &value].concat());
        match der(SET, &der(SEQUENCE, &extension)) == attribute.value {
            true => Ok(()),
            false => Err(refuse("its names could be read in more than one way")),
        }
    }
}

fn refuse(problem: impl Into<String>) -> PkiError {
    PkiError::Asked {
        problem: problem.into(),
    }
}

// Whoever compares addresses takes both forms of one of IPv4 for the same.
fn address(bytes: &[u8]) -> Result<IpAddr, PkiError> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let sixteen = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| sixteen())
        .map(|address| address.to_canonical())
        .map_err(|_| refuse(format!("an address of {} bytes", bytes.len())))
}

fn block(der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let mut out = "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned();
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out + "-----END CERTIFICATE REQUEST-----"
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = &length[zeros..];
    let mut out = vec![tag];
    match content.len() {
        0 => out.push(0),
        1..128 => out.extend(length),
        _ => {
            out.extend(u8::try_from(length.len()).map(|count| 0x80 | count));
            out.extend(length);
        }
    }
    out.extend(content);
    out
}

#[cfg(test)]
#[path = "asked_tests.rs"]
mod tests;
