//! Authorities, leaves and their inspection: the only home of certificate making.
//!
//! Every key made here is ECDSA P-256 and leaves as PKCS#8. Keys made elsewhere (an imported
//! cluster's authorities) may also be RSA, P-384 or Ed25519, in PKCS#8, SEC1 or PKCS#1.
//! Nothing here reads a clock: the time is an argument.

mod asked;
mod authority;
pub mod code;
mod error;
mod import;
mod inspect;
mod key;
pub mod leaf;
mod random;
mod request;
mod secret;
mod service_account;
mod sign;

pub use asked::{RequestFacts, inspect_request};
pub use authority::{Authority, AuthorityKind};
pub use error::PkiError;
pub use inspect::{
    CertificateFacts, KeyFacts, inspect, inspect_der, inspect_key, is_current, issued_by,
    key_matches,
};
pub use leaf::{Issued, LeafRequest, Usage};
pub use random::{random_encryption_key, random_id, random_token};
pub use request::SigningRequest;
pub use secret::{REDACTED, Secret};
pub use service_account::ServiceAccountKey;
