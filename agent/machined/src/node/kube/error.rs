//! Why the API server was not asked, or what it refused.

use std::io;

/// Its text is for people: the innermost cause, since the layers above it only say "error trying
/// to connect".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server's own answer.
    #[error("{message}")]
    Refused {
        /// HTTP's.
        code: u16,
        /// What it says, or all of the answer if that is no Status.
        message: String,
    },
    /// There is no such kind of object in the cluster, or not yet.
    #[error("the cluster knows no kind {kind} in {version}")]
    UnknownKind {
        /// As the object has it.
        kind: String,
        /// Group and version.
        version: String,
    },
    /// Nobody was reached who may be believed.
    #[error(transparent)]
    Connect(io::Error),
    /// The connection broke.
    #[error("{}", innermost(.0))]
    Broken(#[from] hyper::Error),
    /// Nothing more came.
    #[error("no answer within {0} s")]
    Slow(u64),
    /// What came makes no sense.
    #[error("an answer that cannot be read: {0}")]
    Unreadable(String),
}

impl Error {
    /// Whether nobody listens there.
    pub fn nobody_listens(&self) -> bool {
        matches!(self, Self::Connect(e) if e.kind() == io::ErrorKind::ConnectionRefused)
    }
}

fn innermost(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
