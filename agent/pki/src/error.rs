//! What can go wrong, in words that name the operation and the object.

use crate::AuthorityKind;

/// Why an authority, a leaf or a key could not be made or read.
///
/// No variant carries key material: the texts come from parsers that name the fault only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    /// The operating system gave no random bytes.
    #[error("make {what}: the operating system gave no random bytes")]
    Random {
        /// What was being made.
        what: &'static str,
    },
    /// The text holds no PEM section of the wanted kind, or a broken one.
    #[error("read {what} from PEM: {problem}")]
    Pem {
        /// The wanted kind of section.
        what: &'static str,
        /// What the parser said.
        problem: String,
    },
    /// More than one certificate where exactly one belongs.
    #[error("read the {kind} authority: the PEM text holds more than one certificate")]
    Bundle {
        /// The authority that was read.
        kind: AuthorityKind,
    },
    /// The certificate is not well-formed X.509.
    #[error("parse certificate: {problem}")]
    Certificate {
        /// What the parser said.
        problem: String,
    },
    /// The request for a certificate is not well-formed, or not signed by its key.
    #[error("parse certificate request: {problem}")]
    Asked {
        /// What the parser said.
        problem: String,
    },
    /// The private key is of no supported kind.
    #[error("read private key: {problem}")]
    Key {
        /// What the parser said.
        problem: String,
    },
    /// The certificate may not sign others.
    #[error(
        "read the {kind} authority: \"{common_name}\" is not a certificate authority: {problem}"
    )]
    NotAnAuthority {
        /// The authority that was read.
        kind: AuthorityKind,
        /// The certificate's subject.
        common_name: String,
        /// Which mark of an authority is missing.
        problem: &'static str,
    },
    /// The private key belongs to another certificate.
    #[error("read the {kind} authority: the private key does not belong to the certificate")]
    KeyMismatch {
        /// The authority that was read.
        kind: AuthorityKind,
    },
    /// What this authority signs cannot be verified against it (its name or algorithm).
    #[error("read the {kind} authority: certificates signed by it would not verify: {problem}")]
    Unusable {
        /// The authority that was read.
        kind: AuthorityKind,
        /// What stands in the way.
        problem: &'static str,
    },
    /// The clock is outside the authority's life; usually the clock is wrong.
    #[error(
        "issue \"{common_name}\": the time {now} is outside the life of the {kind} authority \
         ({not_before} to {not_after}, unix seconds); check the clock"
    )]
    OutsideLife {
        /// The leaf that was wanted.
        common_name: String,
        /// The authority asked.
        kind: AuthorityKind,
        /// The time given, unix seconds.
        now: i64,
        /// The authority's first second.
        not_before: i64,
        /// The authority's last second.
        not_after: i64,
    },
    /// A date that X.509 cannot hold.
    #[error("make \"{common_name}\": its dates do not fit into a certificate; check the clock")]
    Dates {
        /// The certificate that was wanted.
        common_name: String,
    },
    /// The request cannot be put into a certificate.
    #[error("make \"{common_name}\": {problem}")]
    Request {
        /// The certificate that was wanted.
        common_name: String,
        /// What does not fit.
        problem: String,
    },
    /// The certificate signing request is malformed or not signed by its own key.
    #[error("read certificate signing request: {problem}")]
    SigningRequest {
        /// What is wrong with it.
        problem: String,
    },
    /// The signing operation itself failed.
    #[error("sign \"{common_name}\": {problem}")]
    Sign {
        /// The certificate that was wanted.
        common_name: String,
        /// What the library said.
        problem: String,
    },
}
