//! The machine API: who may ask what, and the only place where protobuf meets the domain.
//!
//! A machine without a config runs [`maintain`]; one with a config runs [`serve`]. Both take the
//! same listening socket, so the port never closes in between.

pub mod audit;
pub mod authz;
mod certificate;
mod config;
mod convert;
mod document;
pub mod enrolment;
mod etcd;
mod events;
mod kubeconfig;
mod listen;
mod logs;
mod machine;
pub mod peer;
mod server;
pub mod tls;
mod tokens;
mod validity;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use machine_plan::etcd_health::EtcdSeen;
use machine_plan::membership::{Member, MemberId};
use machine_plan::recovery::Survey;
use machine_plan::turn::{Purpose, Turn};
use machined_proto::v1;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

pub use audit::Audit;
pub use convert::chain;
pub use enrolment::{Anchor, Ended, maintain};
pub use server::bind;
pub use tls::{Credentials, Front, TlsError};
#[cfg(test)]
pub use tokens::ca_hashes;
pub use tokens::{TokenError, TokenSeen};

use crate::going::GoingDown;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::reconcile::Wake;
use crate::status::Board;
use peer::Peer;

/// Why the API does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No way to present itself.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No code could be made.
    #[error("cannot make an enrolment code")]
    Code(#[source] machine_pki::PkiError),
    /// The HTTP/2 server gave up.
    #[error("the machine API's server failed")]
    Server(#[from] tonic::transport::Error),
}

/// A service as the API shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceState {
    /// Full unit name, such as "kubelet.service".
    pub name: String,
    /// systemd's ActiveState.
    pub active_state: String,
    /// systemd's SubState.
    pub sub_state: String,
    /// systemd's Result.
    pub result: String,
    /// systemd's NRestarts.
    pub restarts: u32,
}

/// What the API has done to the machine, other than through the ledger. Errors are one line that
/// names operation and object.
pub trait Hands: Send + Sync {
    /// The services that this agent looks after; no others can be restarted.
    fn services(&self) -> BoxFuture<'_, Result<Vec<ServiceState>, String>>;
    /// Restarts one of them and waits for the job's result.
    fn restart(&self, service: String) -> BoxFuture<'_, Result<(), String>>;
    /// Asks pods to leave before the machine goes down, for no longer than this. What comes of it
    /// is told as events; it stops nothing.
    fn drain(&self, limit: Duration) -> BoxFuture<'_, ()>;
    /// Takes back what [`Hands::drain`] did: the machine stays up after all.
    fn stay(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Whether this machine may go down for a while: then it has its turn, until it is well again or
    /// stays. The error says why not: etcd's quorum would not survive it, with the numbers, or another
    /// machine has its turn.
    fn may_go_down(&self, how: Purpose) -> BoxFuture<'_, Result<(), String>>;
    /// etcd's members, as one with a vote lists them.
    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, String>>;
    /// Takes one out, whatever that costs.
    fn remove_member(&self, id: MemberId, name: String) -> BoxFuture<'_, Result<(), String>>;
    /// Has this machine's member hand over if it leads; the new leader's name.
    fn forfeit(&self) -> BoxFuture<'_, Result<Option<String>, String>>;
    /// All of etcd's data: parts of a file, and how much is still to come.
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, String>>;
    /// What every member says of itself, with or without a quorum.
    fn etcd(&self) -> BoxFuture<'_, Result<EtcdSeen, String>>;
    /// Takes an alarm back, whatever that hides.
    fn disarm(&self, id: MemberId, alarm: String) -> BoxFuture<'_, Result<(), String>>;
    /// Has a member give back what its database does not use.
    fn defragment(&self, member: Member) -> BoxFuture<'_, Result<(), String>>;
    /// Has any member hand over if it leads; the new leader's name.
    fn replace_leader(&self, member: Member) -> BoxFuture<'_, Result<Option<String>, String>>;
    /// etcd's members, as one with a vote lists them that is not this machine's.
    fn members_elsewhere(&self) -> BoxFuture<'_, Result<Vec<Member>, String>>;
    /// Whose turn it is to be away, if it is anybody's.
    fn whose_turn(&self) -> BoxFuture<'_, Result<Option<Turn>, String>>;
    /// All that decides about a recovery here.
    fn survey(&self) -> BoxFuture<'_, Result<Survey, String>>;
    /// Has the cluster keep the Secret of a bootstrap token with this id.
    fn create_token(&self, id: String, secret: Value) -> BoxFuture<'_, Result<(), TokenError>>;
    /// The cluster's bootstrap tokens.
    fn tokens(&self) -> BoxFuture<'_, Result<Vec<TokenSeen>, TokenError>>;
    /// Has the cluster forget one.
    fn delete_token(&self, id: String) -> BoxFuture<'_, Result<(), TokenError>>;
    /// Waits until controller manager and scheduler here, which were told to, have ended, and lets
    /// others take their leases over at once.
    fn controllers_end(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Waits until the API server here, which was told to, has ended.
    fn api_server_ends(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Begins an orderly reboot.
    fn reboot(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Begins an orderly power-off.
    fn shutdown(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Whether a new cluster may begin here. The error says why not: this machine or a peer that
    /// answers has a cluster's data.
    fn may_bootstrap(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// A copy of etcd's data on its way.
pub type Snapshot = BoxStream<'static, Result<(Vec<u8>, u64), String>>;

/// What a configured machine's API works on.
#[derive(Clone)]
pub struct Parts {
    /// Documents and orders.
    pub ledger: Arc<Ledger>,
    /// Status and events.
    pub board: Arc<Board>,
    /// Called after each change of the ledger.
    pub wake: Wake,
    /// Effects.
    pub hands: Arc<dyn Hands>,
    /// Told while the machine goes down.
    pub going: GoingDown,
    /// Where mutating calls are written down.
    pub audit: Audit,
    /// Where logs come from.
    pub journal: Journal,
}

/// Serves the machine API until `stop`. `front` may be exchanged all the while.
pub async fn serve(
    listener: Arc<TcpListener>,
    front: Arc<Front>,
    parts: Parts,
    stop: CancellationToken,
) -> Result<(), ApiError> {
    let guard = authz::Guard {
        rule: authz::check,
        audit: parts.audit.clone(),
    };
    let routes = machine::routes(parts, &stop).await;
    Ok(server::run(listener, front, guard, routes, stop).await?)
}

/// The peer that [`listen`] put beside the request.
fn peer_of<T>(request: &Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.ok_or_else(|| Status::internal("the connection is not known"))
}

/// Runs a mutation to its end even when the caller hangs up or the deadline passes: what is begun
/// is finished and written down.
async fn complete<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|e| Err(Status::internal(format!("the work did not end: {e}"))))
}

impl From<ServiceState> for v1::Service {
    fn from(service: ServiceState) -> Self {
        Self {
            name: service.name,
            active_state: service.active_state,
            sub_state: service.sub_state,
            result: service.result,
            restarts: service.restarts,
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
