//! Who may call what: one table, enforced before a request's body is read.

use std::fmt;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::Status;
use tower::{Layer, Service};

use super::audit::{Audit, Record};
use super::peer::Peer;

/// What a client certificate's organization lets its holder do. Each role may do all that the
/// ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees state that holds no secrets and no text of workloads.
    Reader,
    /// Also reads logs, restarts services and the machine.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// The word in tables and errors.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The most that a certificate's organizations (O=) allow; `None`: nothing.
    pub fn of<'a>(organizations: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let known = |organization: &str| match organization {
            "machined:reader" => Some(Self::Reader),
            "machined:operator" => Some(Self::Operator),
            "machined:admin" => Some(Self::Admin),
            _ => None,
        };
        organizations.into_iter().filter_map(known).max()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Any certificate of the machine authority, roles or none.
    Authenticated,
    /// A machine of the cluster, by its own certificate.
    Machine,
    /// This role or a greater one.
    Role(Role),
}

const READER: Access = Access::Role(Role::Reader);
const OPERATOR: Access = Access::Role(Role::Operator);
const ADMIN: Access = Access::Role(Role::Admin);

/// The table. What is not in it takes an admin, so that a method somebody forgets to enter is
/// closed, not open. Logs are the operator's: what workloads print may hold secrets.
const TABLE: &[(&str, Access)] = &[
    ("/grpc.health.v1.Health/Check", Access::Authenticated),
    ("/grpc.health.v1.Health/Watch", Access::Authenticated),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Access::Authenticated,
    ),
    (
        "/machine.v1.MachineService/SignCertificate",
        Access::Machine,
    ),
    ("/machine.v1.MachineService/Version", READER),
    ("/machine.v1.MachineService/Status", READER),
    ("/machine.v1.MachineService/Inspect", READER),
    ("/machine.v1.MachineService/Events", READER),
    ("/machine.v1.MachineService/ListServices", READER),
    ("/machine.v1.MachineService/ListGenerations", READER),
    ("/machine.v1.MachineService/EtcdMembers", READER),
    ("/machine.v1.MachineService/EtcdStatus", READER),
    ("/machine.v1.MachineService/Logs", OPERATOR),
    ("/machine.v1.MachineService/Dmesg", OPERATOR),
    ("/machine.v1.MachineService/RestartService", OPERATOR),
    ("/machine.v1.MachineService/EtcdForfeitLeadership", OPERATOR),
    ("/machine.v1.MachineService/EtcdDefragment", OPERATOR),
    ("/machine.v1.MachineService/Reboot", OPERATOR),
    ("/machine.v1.MachineService/Shutdown", OPERATOR),
];

/// What the method at this path asks of its caller.
pub fn required(path: &str) -> Access {
    TABLE
        .iter()
        .find(|(known, _)| *known == path)
        .map_or(ADMIN, |(_, access)| *access)
}

/// Whether a peer may call the method at a path.
pub fn check(peer: Option<&Peer>, path: &str) -> Result<(), Status> {
    let identity = peer.and_then(Peer::identity).ok_or_else(|| {
        Status::unauthenticated("a client certificate of the machine authority is needed")
    })?;
    match (required(path), identity.role) {
        (Access::Authenticated, _) => Ok(()),
        (Access::Machine, _) if identity.machine.is_some() => Ok(()),
        (Access::Machine, _) => Err(Status::permission_denied(format!(
            "this call is for machines of the cluster; {} is none",
            identity.name
        ))),
        (Access::Role(needed), Some(has)) if has >= needed => Ok(()),
        (Access::Role(needed), has) => Err(Status::permission_denied(format!(
            "this call needs the role {needed}; {} has {}",
            identity.name,
            has.map_or("none", Role::word)
        ))),
    }
}

/// Decides on a call from who calls and the method's path alone.
pub type Rule = fn(Option<&Peer>, &str) -> Result<(), Status>;

/// A rule as a layer around every service: it is asked before a byte of the request's body is
/// read. Refusals of callers with a name go to the audit log; strangers must not fill a disk.
#[derive(Clone)]
pub struct Guard {
    /// What decides.
    pub rule: Rule,
    /// Where refusals are written down.
    pub audit: Audit,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded {
            inner,
            guard: self.clone(),
        }
    }
}

/// See [`Guard`].
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        let path = request.uri().path();
        let Err(refusal) = (self.guard.rule)(peer, path) else {
            return Box::pin(self.inner.call(request));
        };
        let method = path.rsplit('/').next().unwrap_or(path);
        let named = peer.filter(|peer| peer.identity().is_some());
        let record = named.map(|peer| Record::new(peer, method).refused(&refusal));
        let audit = self.guard.audit.clone();
        Box::pin(async move {
            if let Some(record) = record {
                audit.note(record).await;
            }
            Ok(refusal.into_http())
        })
    }
}

#[cfg(test)]
mod tests;
