//! An administrator's kubeconfig, made for one call.

use std::time::{Duration, SystemTime};

use machine_config::{Bundle, Role};
use machine_pki::{Authority, AuthorityKind, LeafRequest, Secret, Usage};
use tonic::Status;

use super::convert;

/// What 0 means: a year, as kubeadm's.
const DEFAULT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Shorter ones expire on the way to whoever uses them; longer ones outlive the authority.
const BOUNDS: (Duration, Duration) = (
    Duration::from_secs(600),
    Duration::from_secs(10 * 365 * 24 * 3600),
);

/// The name in the certificate and the file, as kubeadm's.
const USER: &str = "kubernetes-admin";

/// From this minor version on kubeadm gives administrators a group that a role binding can take
/// rights from, instead of the one that is above all authorization.
const CLUSTER_ADMINS_SINCE: u16 = 29;

pub(super) fn make(
    bundle: &Bundle,
    lifetime_seconds: u32,
    now: SystemTime,
) -> Result<Secret, Status> {
    let lifetime = match lifetime_seconds {
        0 => DEFAULT,
        seconds => Duration::from_secs(seconds.into()),
    };
    if lifetime < BOUNDS.0 || lifetime > BOUNDS.1 {
        return Err(Status::invalid_argument(format!(
            "lifetime_seconds is {lifetime_seconds}; it must be from {} to {}, or 0 for a year",
            BOUNDS.0.as_secs(),
            BOUNDS.1.as_secs()
        )));
    }
    let config = &bundle.config;
    if config.role() != Role::ControlPlane {
        return Err(Status::failed_precondition(
            "only a control plane machine can make a kubeconfig: ask one",
        ));
    }
    let pair = bundle
        .secrets
        .as_ref()
        .and_then(|secrets| secrets.kubernetes_ca.as_ref());
    let (certificate, key) = pair
        .and_then(|pair| Some((pair.certificate.as_str(), pair.key.as_ref()?)))
        .ok_or_else(|| Status::failed_precondition("the Kubernetes authority's key is not here"))?;
    let group = match config.kubernetes_version().at_least(CLUSTER_ADMINS_SINCE) {
        true => "kubeadm:cluster-admins",
        false => "system:masters",
    };
    let request = LeafRequest {
        common_name: USER.to_owned(),
        organizations: vec![group.to_owned()],
        usage: Usage::Client,
        dns: [].into(),
        ips: [].into(),
        lifetime,
    };
    let issued = Authority::from_pem(AuthorityKind::Kubernetes, certificate, key)
        .and_then(|authority| authority.issue(&request, now))
        .map_err(|e| Status::internal(convert::chain(&e)))?;
    Ok(machine_plan::render::kubeconfig(
        config.cluster_name(),
        &config.control_plane_endpoint().url(),
        certificate,
        USER,
        &issued.certificate_pem,
        &issued.key,
    ))
}
