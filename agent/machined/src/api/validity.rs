//! A client of ours whose certificate is not valid by this machine's clock: that says as much
//! about the clock as about the certificate. Without it a machine whose clock is ahead would
//! refuse everybody and say nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::clock::day;
use crate::conditions::{Condition, Kind, Source};
use crate::status::Board;

/// Asks another verifier, and tells the board what a refusal says of the clock.
pub(super) struct Validity {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) board: Arc<Board>,
}

impl Validity {
    // The error's own check of dates comes before that of signatures: a stranger's certificate says
    // nothing. Ours is one that this authority vouches for on a day of its own.
    fn doubt(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<Condition> {
        let facts = machine_pki::inspect_der(end_entity).ok()?;
        let begins = u64::try_from(facts.not_before).ok()?;
        let then = UnixTime::since_unix_epoch(Duration::from_secs(begins));
        self.verifier
            .verify_client_cert(end_entity, intermediates, then)
            .ok()?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let why = match now < facts.not_before {
            true => "the clock is behind",
            false => "either it is old, or the clock is ahead",
        };
        let date = |seconds: i64| day(seconds.saturating_mul(1000));
        let message = format!(
            "it says {}, and {} came with a certificate of this machine's authority that is valid \
             from {} to {}: {why}",
            date(now),
            facts.common_name,
            date(facts.not_before),
            date(facts.not_after)
        );
        Some(Condition::new(
            Kind::ClockWrong,
            "client certificate",
            message,
        ))
    }
}

impl ClientCertVerifier for Validity {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        use CertificateError as C;
        let verified = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now);
        match &verified {
            // Somebody's is valid: what was said before was about that certificate.
            Ok(_) => self.board.wrong(Source::Client, Vec::new()),
            Err(Error::InvalidCertificate(
                C::Expired
                | C::ExpiredContext { .. }
                | C::NotValidYet
                | C::NotValidYetContext { .. },
            )) => {
                if let Some(condition) = self.doubt(end_entity, intermediates, now) {
                    self.board.wrong(Source::Client, vec![condition]);
                }
            }
            Err(_) => {}
        }
        verified
    }

    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl fmt::Debug for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validity").finish_non_exhaustive()
    }
}
