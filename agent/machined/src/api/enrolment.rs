//! What a machine without a config serves, and all it serves: enrolment.
//!
//! Both ends prove themselves before a byte of config is read. With a trust anchor given before
//! boot that is plain mutual TLS. Without one the machine shows a code, and both ends show that
//! they know it by an HMAC over this TLS connection's exporter: a man in the middle has two
//! connections with two exporters, so neither proof fits the other.

mod anchor;
mod attempts;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use futures_util::future::BoxFuture;
use machine_config::Bundle;
use machined_proto::v1;
use machined_proto::v1::enrolment_service_server::{EnrolmentService, EnrolmentServiceServer};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::Service;

pub use anchor::Anchor;
use attempts::{Attempts, Refusal};

use super::audit::{Audit, Record};
use super::authz::{Guard, Role};
use super::peer::Peer;
use super::tls::{Credentials, Front};
use super::{ApiError, complete, convert, document, peer_of, server};
use crate::ledger::{Acceptance, Ledger, Mode};
use crate::status::Board;

const PROVE: &str = "/machine.v1.EnrolmentService/Prove";
const ENROL: &str = "/machine.v1.EnrolmentService/Enrol";

/// Bytes of a message that strangers may send: a proof has 32.
const PROOF_LIMIT: usize = 256;

/// How maintenance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A config is in the ledger, and its sender has been told.
    Enrolled {
        /// The generation it became.
        generation: u64,
    },
    /// `stop` was cancelled.
    Stopped,
}

/// Serves enrolment until a config was accepted, or `stop`.
pub async fn maintain(
    listener: Arc<TcpListener>,
    anchor: Anchor,
    ledger: Arc<Ledger>,
    audit: Audit,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<Ended, ApiError> {
    let done = stop.child_token();
    let (credentials, attempts) = match anchor {
        Anchor::Credential(credentials) => (credentials, None),
        Anchor::Code { show } => {
            let credentials = Credentials::ephemeral(SystemTime::now())?;
            (
                credentials,
                Some(Attempts::new(show).map_err(ApiError::Code)?),
            )
        }
    };
    let rule = if attempts.is_some() {
        by_code
    } else {
        by_credential
    };
    let guard = Guard {
        rule,
        audit: audit.clone(),
    };
    let front = Arc::new(Front::new(&credentials, board)?);
    let enrolled = Arc::new(Mutex::new(None));
    let service = Enrolment {
        attempts: Arc::new(attempts),
        ledger,
        audit,
        enrolled: Arc::clone(&enrolled),
        done: done.clone(),
    };
    server::run(
        listener,
        front,
        guard,
        Routes::new(Limited::new(service)),
        done,
    )
    .await?;
    let generation = *enrolled.lock().await;
    Ok(generation.map_or(Ended::Stopped, |generation| Ended::Enrolled { generation }))
}

/// Enrolment by a trust anchor: an administrator's certificate, and nothing but enrolment.
fn by_credential(peer: Option<&Peer>, path: &str) -> Result<(), Status> {
    let identity = peer.and_then(Peer::identity).ok_or_else(|| {
        Status::unauthenticated("a client certificate of the machine authority is needed")
    })?;
    match (identity.role, path) {
        (Some(Role::Admin), PROVE | ENROL) => Ok(()),
        (Some(Role::Admin), _) => Err(maintenance()),
        _ => Err(Status::permission_denied(
            "enrolling a machine needs the role admin",
        )),
    }
}

/// Enrolment by code: until the code is proved, only that.
fn by_code(peer: Option<&Peer>, path: &str) -> Result<(), Status> {
    match (peer.is_some_and(Peer::proved), path) {
        (_, PROVE) | (true, ENROL) => Ok(()),
        (true, _) => Err(maintenance()),
        (false, _) => Err(Status::unauthenticated(
            "this machine waits for its enrolment code: prove it on this connection first",
        )),
    }
}

fn maintenance() -> Status {
    Status::unimplemented("this machine has no config yet and only takes one")
}

#[derive(Clone)]
struct Enrolment {
    attempts: Arc<Option<Attempts>>,
    ledger: Arc<Ledger>,
    audit: Audit,
    // Held while a config is accepted: of two senders one is first.
    enrolled: Arc<Mutex<Option<u64>>>,
    done: CancellationToken,
}

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    async fn prove(
        &self,
        request: Request<v1::ProveRequest>,
    ) -> Result<Response<v1::ProveResponse>, Status> {
        let peer = peer_of(&request)?;
        let attempts = self.attempts.as_ref().as_ref().ok_or_else(|| {
            Status::failed_precondition(
                "this machine was given a trust anchor: it has no code, certificates prove both ends",
            )
        })?;
        let proof = &request.get_ref().proof;
        let answer = attempts.prove(peer.remote().ip(), peer.exporter(), proof, Instant::now());
        match answer {
            Ok(proof) => {
                peer.set_proved();
                self.audit.note(Record::new(&peer, "Prove")).await;
                Ok(Response::new(v1::ProveResponse {
                    proof: proof.to_vec(),
                }))
            }
            Err(refusal) => {
                let status = refused(refusal);
                // Those who have to wait would fill the log.
                if !matches!(refusal, Refusal::Wait(_)) {
                    self.audit
                        .note(Record::new(&peer, "Prove").refused(&status))
                        .await;
                }
                Err(status)
            }
        }
    }

    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let peer = peer_of(&request)?;
        // The guard has asked this already; asked again where it matters.
        if !peer.proved() {
            return Err(Status::unauthenticated("prove the enrolment code first"));
        }
        let (this, request) = (self.clone(), request.into_inner());
        complete(async move { this.enrol(&peer, request).await })
            .await
            .map(Response::new)
    }
}

impl Enrolment {
    async fn enrol(
        &self,
        peer: &Peer,
        request: v1::EnrolRequest,
    ) -> Result<v1::EnrolResponse, Status> {
        if request.dry_run {
            read_first(request.document).await?;
            return Ok(v1::EnrolResponse { generation: 0 });
        }
        let record = Record::new(peer, "Enrol");
        match self.accept(peer, request).await {
            Ok(generation) => {
                // Accepted is accepted: it is in the ledger, whatever becomes of this line.
                self.audit.note(record.generation(generation)).await;
                // Answers under way are still sent before the server ends.
                self.done.cancel();
                Ok(v1::EnrolResponse { generation })
            }
            Err(status) => {
                self.audit.note(record.refused(&status)).await;
                Err(status)
            }
        }
    }

    async fn accept(&self, peer: &Peer, request: v1::EnrolRequest) -> Result<u64, Status> {
        let (text, bundle) = read_first(request.document).await?;
        let mut enrolled = self.enrolled.lock().await;
        if let Some(generation) = *enrolled {
            return Err(Status::failed_precondition(format!(
                "this machine has a config already, generation {generation}"
            )));
        }
        let by = peer.by();
        let acceptance = Acceptance {
            text,
            bundle,
            sent_ms: convert::sent(request.sent_ms),
            by,
            mode: Mode::Auto,
            expected: None,
        };
        let ledger = Arc::clone(&self.ledger);
        let generation = document::blocking(move || ledger.accept(acceptance))
            .await?
            .map_err(|e| convert::ledger(&e))?;
        *enrolled = Some(generation);
        if let Some(attempts) = &*self.attempts {
            attempts.use_up();
        }
        Ok(generation)
    }
}

async fn read_first(document: Vec<u8>) -> Result<(String, Bundle), Status> {
    let (text, bundle) = document::read(document).await?;
    document::reachable(&bundle, SystemTime::now())?;
    Ok((text, bundle))
}

/// The service with a limit per method: strangers may call `Prove`, and must not make the machine
/// hold a document's worth of memory for each of their calls.
#[derive(Clone)]
struct Limited {
    prove: EnrolmentServiceServer<Enrolment>,
    enrol: EnrolmentServiceServer<Enrolment>,
}

impl Limited {
    fn new(service: Enrolment) -> Self {
        let prove = EnrolmentServiceServer::new(service);
        let enrol = prove
            .clone()
            .max_decoding_message_size(machined_proto::MESSAGE_LIMIT);
        Self {
            prove: prove.max_decoding_message_size(PROOF_LIMIT),
            enrol,
        }
    }
}

impl NamedService for Limited {
    const NAME: &'static str = <EnrolmentServiceServer<Enrolment> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for Limited {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            ENROL => self.enrol.call(request),
            _ => self.prove.call(request),
        }
    }
}

fn refused(refusal: Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::Used => Status::failed_precondition(message),
        Refusal::Wait(_) => Status::resource_exhausted(message),
        Refusal::Wrong | Refusal::Exchanged => Status::unauthenticated(message),
    }
}

#[cfg(test)]
mod tests;
