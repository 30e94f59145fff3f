//! Bootstrap tokens: made, listed, taken away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use machine_config::Bundle;
use machine_pki::{Secret, inspect_der, random_token};
use machine_plan::render::{BootstrapToken, TOKEN_LIFETIME, is_token_id};
use machined_proto::v1;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tonic::Status;

use super::{Hands, convert};

/// What the cluster says of a token, without what is secret of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSeen {
    /// Its first six characters.
    pub id: String,
    /// Milliseconds since the epoch; `None`: never.
    pub expires_ms: Option<i64>,
    /// As it was given.
    pub description: String,
    /// What it is good for.
    pub usages: Vec<String>,
    /// The groups that its bearer is in.
    pub groups: Vec<String>,
    /// Why it is of no use; empty where it is.
    pub problem: String,
}

/// Why the cluster did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Another one has this id.
    #[error("there is another token {0} already: delete it first, or choose another id")]
    Exists(String),
    /// None has this id.
    #[error("there is no token {0}: machinectl token list shows those that there are")]
    Unknown(String),
    /// The API server was not reached, or refused.
    #[error("cannot {operation} {object}: {why}")]
    Cluster {
        /// What was tried.
        operation: &'static str,
        /// With what.
        object: String,
        /// What stood in the way.
        why: String,
    },
}

impl From<TokenError> for Status {
    fn from(error: TokenError) -> Self {
        let message = error.to_string();
        match error {
            TokenError::Exists(_) => Self::already_exists(message),
            TokenError::Unknown(_) => Self::not_found(message),
            TokenError::Cluster { .. } => Self::unavailable(message),
        }
    }
}

/// The token asked for, if it may be made here.
pub(super) fn asked(
    bundle: &Bundle,
    request: v1::CreateTokenRequest,
    now: SystemTime,
) -> Result<BootstrapToken, Status> {
    control_plane(bundle)?;
    let expires = match (request.never_expires, request.lifetime_seconds) {
        (true, 0) => None,
        (true, _) => {
            return Err(Status::invalid_argument(
                "lifetime_seconds and never_expires exclude each other",
            ));
        }
        (false, 0) => Some(now + TOKEN_LIFETIME),
        (false, seconds) => Some(now + Duration::from_secs(seconds.into())),
    };
    let token = match request.token.is_empty() {
        true => random_token().map_err(|e| Status::internal(convert::chain(&e)))?,
        false => Secret::new(request.token),
    };
    let (description, usages) = (request.description, &request.usages);
    BootstrapToken::new(token, expires, description, usages, request.groups)
        .map_err(|fault| Status::invalid_argument(fault.to_string()))
}

/// Makes it; when this returns, the cluster keeps it.
pub(super) async fn create(
    hands: &dyn Hands,
    bundle: &Bundle,
    token: &BootstrapToken,
) -> Result<v1::CreateTokenResponse, Status> {
    // First what may fail without having done anything.
    let ca_hashes = ca_hashes(bundle)?;
    hands
        .create_token(token.id().to_owned(), token.object())
        .await?;
    Ok(v1::CreateTokenResponse {
        token: token.token().expose().to_owned(),
        expires_ms: token.expires().map_or(0, written),
        endpoint: bundle.config.control_plane_endpoint().to_string(),
        ca_hashes,
        usages: token
            .usages()
            .iter()
            .map(|usage| (*usage).to_owned())
            .collect(),
        groups: token.groups().to_vec(),
    })
}

/// Those that the cluster has.
pub(super) async fn list(
    hands: &dyn Hands,
    bundle: &Bundle,
) -> Result<v1::ListTokensResponse, Status> {
    control_plane(bundle)?;
    let tokens = hands.tokens().await?;
    Ok(v1::ListTokensResponse {
        tokens: tokens.into_iter().map(shown).collect(),
    })
}

/// Takes one away; when this returns, it opens nothing any more.
pub(super) async fn delete(hands: &dyn Hands, bundle: &Bundle, id: &str) -> Result<(), Status> {
    control_plane(bundle)?;
    // Also of a whole token, which is not to be repeated.
    if !is_token_id(id) {
        return Err(Status::invalid_argument(
            "a token's id is its first six characters, of a-z and 0-9",
        ));
    }
    Ok(hands.delete_token(id.to_owned()).await?)
}

/// How the audit log calls it.
pub(super) fn object(id: &str) -> String {
    match is_token_id(id) {
        true => format!("token {id}"),
        false => "token".to_owned(),
    }
}

fn control_plane(bundle: &Bundle) -> Result<(), Status> {
    match bundle.config.role().is_control_plane() {
        true => Ok(()),
        false => Err(Status::failed_precondition(
            "only a control plane machine has to do with tokens: ask a control plane machine",
        )),
    }
}

/// What kubeadm pins: the public key of each certificate that vouches for the cluster's API.
pub fn ca_hashes(bundle: &Bundle) -> Result<Vec<String>, Status> {
    let secrets = bundle.secrets.as_ref();
    let authority = secrets.and_then(|secrets| secrets.kubernetes_ca.as_ref());
    let pem = authority.map(|authority| authority.certificate.as_str());
    let pem =
        pem.ok_or_else(|| Status::failed_precondition("the cluster's secrets are not here"))?;
    let unreadable = || Status::internal("the Kubernetes authority's certificate cannot be read");
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|certificate| {
            let certificate = certificate.map_err(|_| unreadable())?;
            let facts = inspect_der(&certificate).map_err(|_| unreadable())?;
            Ok(format!("sha256:{}", facts.spki_sha256))
        })
        .collect()
}

/// As the Secret has it: in whole seconds.
fn written(expires: SystemTime) -> i64 {
    let since = expires.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).map_or(i64::MAX, |seconds| seconds.saturating_mul(1000))
}

fn shown(token: TokenSeen) -> v1::Token {
    v1::Token {
        id: token.id,
        expires_ms: token.expires_ms.unwrap_or_default(),
        description: token.description,
        usages: token.usages,
        groups: token.groups,
        problem: token.problem,
    }
}

#[cfg(test)]
mod tests;
