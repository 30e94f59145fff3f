//! Who is believed: the cluster's machine CA, or, for a machine with a code, nobody yet.

use std::sync::Arc;

use machine_pki::Secret;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::context::Context;
use crate::failure::Failure;

/// The label that ties an enrolment code to one TLS connection.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-machined-enrolment";

/// TLS 1.3 with the context's client certificate; the machine CA vouches for the machine.
pub fn with_authority(context: &Context) -> Result<ClientConfig, Failure> {
    let told = |what: &str| {
        Failure::usage(format!("context {}: {what} cannot be read", context.name))
            .next("make the context anew: machinectl context add … --force")
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&context.ca).ok_or_else(|| told("its CA certificate"))? {
        roots
            .add(certificate)
            .map_err(|_| told("its CA certificate"))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|_| told("its CA certificate"))?;
    let chain = certificates(&context.certificate).ok_or_else(|| told("its certificate"))?;
    let key = private_key(&context.key).ok_or_else(|| told("its key"))?;
    let config = builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .map_err(|_| told("its key, which does not fit the certificate,"))?;
    Ok(finished(config))
}

/// TLS 1.3 that believes no certificate: the code proves the machine afterwards.
pub fn with_code() -> Result<ClientConfig, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let config = builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unproven { algorithms }))
        .with_no_client_auth();
    Ok(finished(config))
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder(provider: Arc<CryptoProvider>) -> Result<Builder, Failure> {
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Failure::failed(format!("prepare TLS 1.3: {error}")))
}

fn finished(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed connection would skip the certificates, which commands look at.
    config.resumption = Resumption::disabled();
    config
}

fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.ok().filter(|found| !found.is_empty())
}

fn private_key(key: &Secret) -> Option<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).ok()
}

/// Takes any certificate, yet insists that the peer holds its key: the exporter
/// that the proofs are made over then belongs to this very peer.
#[derive(Debug)]
struct Unproven {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Unproven {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Never asked: only TLS 1.3 is offered.
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
