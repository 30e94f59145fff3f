//! The certificate's fields, filled in one place so that no library default is ever left standing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};

use crate::leaf::{LeafRequest, Lifetime, Usage};
use crate::{PkiError, random};

/// The last second that X.509 can name: 9999-12-31T23:59:59Z.
const END_OF_TIME: u64 = 253_402_300_799;

/// First and last second of a certificate.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Life {
    /// From a little before now, for the given time.
    pub(crate) fn starting(now: SystemTime, lifetime: Duration) -> Option<Self> {
        let life = Self {
            not_before: now.checked_sub(Lifetime::CLOCK_SKEW)?,
            not_after: now.checked_add(lifetime)?,
        };
        let fits = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH)
                .is_ok_and(|since| since.as_secs() <= END_OF_TIME)
        };
        (fits(life.not_before) && fits(life.not_after)).then_some(life)
    }
}

/// The fields of an authority: kubeadm's, with keyEncipherment left out (it means nothing for an
/// ECDSA key) and cRLSign added.
pub(crate) fn authority(common_name: &str, life: Life) -> Result<CertificateParams, PkiError> {
    let mut params = base(common_name, life)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    Ok(params)
}

/// The fields of a leaf. `rsa` says that its key is RSA, which alone can encipher keys.
pub(crate) fn leaf(
    request: &LeafRequest,
    life: Life,
    rsa: bool,
) -> Result<CertificateParams, PkiError> {
    let refuse = |problem: String| PkiError::Request {
        common_name: request.common_name.clone(),
        problem,
    };
    if request.common_name.is_empty() {
        return Err(refuse("it has no common name".to_owned()));
    }
    let mut params = base(&request.common_name, life)?;
    match request.organizations.as_slice() {
        [] => {}
        [one] => params
            .distinguished_name
            .push(DnType::OrganizationName, one.as_str()),
        many => {
            return Err(refuse(format!(
                "{} organizations; at most one fits",
                many.len()
            )));
        }
    }
    for name in &request.dns {
        let name = name.as_str().try_into();
        let name = name.map_err(|error: rcgen::Error| refuse(format!("DNS name: {error}")))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params
        .subject_alt_names
        .extend(request.ips.iter().copied().map(SanType::IpAddress));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if rsa {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = match request.usage {
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Both => {
            vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ]
        }
    };
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn base(common_name: &str, life: Life) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = life.not_before.into();
    params.not_after = life.not_after.into();
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// 126 random bits: RFC 5280 allows 20 positive bytes, browsers' rules ask for 64 bits.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes: [u8; 16] = random::bytes("a serial number")?;
    bytes[0] &= 0x7f;
    // Never zero, and never a byte shorter than said: the first byte is 0x40 to 0x7f.
    bytes[0] |= 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}
