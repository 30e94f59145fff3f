//! TLS 1.3 for the API's side of a connection, exchangeable while it serves.

use std::sync::{Arc, PoisonError, RwLock};

use machine_pki::{Authority, AuthorityKind, LeafRequest, Secret, Usage};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::validity::Validity;
use crate::status::Board;

/// Why the API cannot present itself.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text does not hold what it should.
    #[error("cannot read the {what}: {why}")]
    Pem {
        /// Which text.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The parts do not make a server.
    #[error("cannot set up TLS for the machine API")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The certificate for enrolment by code could not be made.
    #[error("cannot make a certificate for enrolment")]
    Ephemeral(#[source] machine_pki::PkiError),
}

/// What a server shows and whom it lets in.
pub struct Credentials {
    /// Its certificate, PEM; a chain is sent as it stands.
    pub certificate_pem: String,
    /// The certificate's key.
    pub key: Secret,
    /// Clients need a certificate of this authority. `None`: clients are not asked for one, which
    /// only enrolment by code does.
    pub client_authority_pem: Option<String>,
}

impl Credentials {
    /// A certificate that says nothing of who the machine is, for one run of enrolment by code:
    /// there the code, bound to the connection, is what proves both ends.
    pub fn ephemeral(now: std::time::SystemTime) -> Result<Self, TlsError> {
        let name = "machined-enrolment".to_owned();
        let request = LeafRequest {
            common_name: name.clone(),
            organizations: Vec::new(),
            usage: Usage::Server,
            dns: [name].into(),
            ips: [].into(),
            lifetime: EPHEMERAL,
        };
        let issued = Authority::generate(AuthorityKind::Machine, now)
            .and_then(|authority| authority.issue(&request, now))
            .map_err(TlsError::Ephemeral)?;
        Ok(Self {
            certificate_pem: issued.certificate_pem,
            key: issued.key,
            client_authority_pem: None,
        })
    }

    fn server_config(&self, board: &Arc<Board>) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates("machine API certificate", &self.certificate_pem)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose().as_bytes()).map_err(|e| {
            TlsError::Pem {
                what: "machine API key",
                why: e.to_string(),
            }
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(setup)?;
        let builder = match &self.client_authority_pem {
            Some(pem) => builder.with_client_cert_verifier(Arc::new(Validity {
                verifier: verifier(pem, provider)?,
                board: Arc::clone(board),
            })),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(setup)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // No resumption: each connection shows its certificate anew, so that an exchanged
        // authority holds for everybody, and an exporter belongs to one handshake.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// How long the certificate of one enrolment lasts. Nobody checks it, and a machine may wait for
/// its config for long.
const EPHEMERAL: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

/// The server's present TLS configuration. A handshake takes the one of the moment; established
/// connections keep theirs.
pub struct Front {
    present: RwLock<Arc<ServerConfig>>,
    board: Arc<Board>,
}

impl Front {
    /// Starts with these credentials. `board`: where a doubt about the clock goes.
    pub fn new(credentials: &Credentials, board: Arc<Board>) -> Result<Self, TlsError> {
        let present = RwLock::new(Arc::new(credentials.server_config(&board)?));
        Ok(Self { present, board })
    }

    /// Exchanges them for new connections; on an error the old ones stay.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), TlsError> {
        let fresh = Arc::new(credentials.server_config(&self.board)?);
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(super) fn present(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn verifier(
    authority_pem: &str,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("machine authority", authority_pem)? {
        roots.add(certificate).map_err(setup)?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(setup)
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| TlsError::Pem {
            what,
            why: e.to_string(),
        })?;
    match found.is_empty() {
        true => Err(TlsError::Pem {
            what,
            why: "it holds no certificate".to_owned(),
        }),
        false => Ok(found),
    }
}

fn setup(error: impl std::error::Error + Send + Sync + 'static) -> TlsError {
    TlsError::Setup(Box::new(error))
}
