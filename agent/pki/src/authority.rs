//! Certificate authorities: made, read back, and what they sign.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{Issuer, KeyPair, PublicKeyData, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use crate::leaf::{Issued, LeafRequest, Lifetime};
use crate::sign::{self, Life};
use crate::{PkiError, Secret, inspect, key};

/// Which of a cluster's authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorityKind {
    /// The machine API's.
    Machine,
    /// Kubernetes' own.
    Kubernetes,
    /// etcd's.
    Etcd,
    /// The one that aggregated API servers trust.
    FrontProxy,
}

impl AuthorityKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Machine,
        Self::Kubernetes,
        Self::Etcd,
        Self::FrontProxy,
    ];

    /// The CN that a new authority of this kind gets; kubeadm's where kubeadm has one.
    #[must_use]
    pub fn common_name(self) -> &'static str {
        match self {
            Self::Machine => "machined-ca",
            Self::Kubernetes => "kubernetes",
            Self::Etcd => "etcd-ca",
            Self::FrontProxy => "front-proxy-ca",
        }
    }
}

impl fmt::Display for AuthorityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "machine",
            Self::Kubernetes => "Kubernetes",
            Self::Etcd => "etcd",
            Self::FrontProxy => "front-proxy",
        })
    }
}

/// A certificate authority with its private key, proven to belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    pub(crate) kind: AuthorityKind,
    pub(crate) certificate_pem: String,
    pub(crate) key: Secret,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Authority {
    /// Makes a new authority: P-256, 10 years.
    ///
    /// # Errors
    /// If `now` fits no certificate, or the key cannot be made.
    pub fn generate(kind: AuthorityKind, now: SystemTime) -> Result<Self, PkiError> {
        let common_name = kind.common_name();
        let life = Life::starting(now, Lifetime::AUTHORITY).ok_or_else(|| PkiError::Dates {
            common_name: common_name.to_owned(),
        })?;
        let pair = key::generate()?;
        let certificate = sign::authority(common_name, life)?
            .self_signed(&*pair)
            .map_err(failed(common_name))?;
        Self::from_pem(kind, &certificate.pem(), &key::to_pem(&pair))
    }

    /// Which authority this is.
    #[must_use]
    pub fn kind(&self) -> AuthorityKind {
        self.kind
    }

    /// Its certificate, PEM, as made or as given.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its private key, PEM, as made or as given.
    #[must_use]
    pub fn key_pem(&self) -> &Secret {
        &self.key
    }

    /// Makes a leaf and its key.
    ///
    /// # Errors
    /// If `now` is outside the authority's life, or the request fits no certificate.
    pub fn issue(&self, request: &LeafRequest, now: SystemTime) -> Result<Issued, PkiError> {
        let pair = key::generate()?;
        let certificate_pem = self.sign(request, self.life(request, now)?, &*pair, false)?;
        Ok(Issued {
            certificate_pem,
            key: key::to_pem(&pair),
        })
    }

    /// Signs the public key of a certificate signing request. Everything else comes from
    /// `request`: names and usages that the sender wrote into it are not looked at.
    ///
    /// # Errors
    /// As [`Authority::issue`], and if the request is malformed or not signed by its own key.
    pub fn sign_csr(
        &self,
        csr_pem: &str,
        request: &LeafRequest,
        now: SystemTime,
    ) -> Result<String, PkiError> {
        let refuse = |problem: String| PkiError::SigningRequest { problem };
        let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
            .map_err(|error| refuse(error.to_string()))?;
        // Parsed here: the signing library's own reader also judges the extensions, and panics
        // on some malformed names.
        let (rest, csr) =
            X509CertificationRequest::from_der(&der).map_err(|error| refuse(error.to_string()))?;
        if !rest.is_empty() {
            return Err(refuse("bytes after its end".to_owned()));
        }
        csr.verify_signature().map_err(|_| {
            refuse("it is not signed by the key that it asks a certificate for".to_owned())
        })?;
        let key = SubjectPublicKeyInfo::from_der(csr.certification_request_info.subject_pki.raw)
            .map_err(|error| refuse(error.to_string()))?;
        let rsa = is_rsa(key.algorithm());
        self.sign(request, self.life(request, now)?, &key, rsa)
    }

    /// From a little before now for the wanted time, within the authority's own life.
    fn life(&self, request: &LeafRequest, now: SystemTime) -> Result<Life, PkiError> {
        let dates = || PkiError::Dates {
            common_name: request.common_name.clone(),
        };
        let life = Life::starting(now, request.lifetime).ok_or_else(dates)?;
        let seconds = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        };
        let now = seconds(now).ok_or_else(dates)?;
        if now < self.not_before || now >= self.not_after {
            return Err(PkiError::OutsideLife {
                common_name: request.common_name.clone(),
                kind: self.kind,
                now,
                not_before: self.not_before,
                not_after: self.not_after,
            });
        }
        let mine = |time: i64| {
            u64::try_from(time)
                .ok()
                .and_then(|t| UNIX_EPOCH.checked_add(Duration::from_secs(t)))
        };
        Ok(Life {
            // An authority from before 1970 has begun long ago.
            not_before: mine(self.not_before).map_or(life.not_before, |t| t.max(life.not_before)),
            not_after: mine(self.not_after).map_or(life.not_after, |t| t.min(life.not_after)),
        })
    }

    pub(crate) fn sign(
        &self,
        request: &LeafRequest,
        life: Life,
        public: &impl PublicKeyData,
        rsa: bool,
    ) -> Result<String, PkiError> {
        let params = sign::leaf(request, life, rsa)?;
        let issuer = self.issuer(key::from_pem(&self.key)?)?;
        params
            .signed_by(public, &issuer)
            .map(|certificate| certificate.pem())
            .map_err(failed(&request.common_name))
    }

    fn issuer(&self, pair: Zeroizing<KeyPair>) -> Result<Issuer<'static, WipedKey>, PkiError> {
        Issuer::from_ca_cert_der(&inspect::first_der(&self.certificate_pem)?, WipedKey(pair))
            .map_err(|error| PkiError::Certificate {
                problem: error.to_string(),
            })
    }
}

/// A key pair that is wiped when dropped and can still sign for the library.
struct WipedKey(Zeroizing<KeyPair>);

impl PublicKeyData for WipedKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(&*self.0)
    }
}

impl rcgen::SigningKey for WipedKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

fn is_rsa(algorithm: &rcgen::SignatureAlgorithm) -> bool {
    [
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_RSA_SHA384,
        &rcgen::PKCS_RSA_SHA512,
    ]
    .contains(&algorithm)
}

fn failed(common_name: &str) -> impl Fn(rcgen::Error) -> PkiError + '_ {
    move |error| PkiError::Sign {
        common_name: common_name.to_owned(),
        problem: error.to_string(),
    }
}
