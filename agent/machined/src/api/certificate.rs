//! Certificates for the cluster's other machines, signed for one call.

use std::time::SystemTime;

use machine_config::{Bundle, MACHINE_GROUP, Role};
use machine_pki::leaf::Lifetime;
use machine_pki::{AuthorityKind, LeafRequest, PkiError, Usage};
use machine_plan::render;
use machined_proto::v1;
use tonic::Status;

use super::convert;
use super::peer::Peer;

/// A request with an RSA key of 16384 bits has half of it.
const LARGEST: usize = 8 * 1024;

/// Signs the caller's key. Nothing that the request itself says is believed: the name, and what it
/// answers to, are those of the certificate the caller proved itself by, so that no machine can
/// become another. What it adds to a server's certificate is the address the call came from, which the
/// kernel vouches for. `founding`: the order to make the cluster is not finished.
pub(super) fn sign(
    bundle: &Bundle,
    peer: &Peer,
    request: &v1::SignCertificateRequest,
    now: SystemTime,
    founding: bool,
) -> Result<String, Status> {
    let purpose = request.purpose();
    if purpose == v1::CertificatePurpose::Unspecified {
        let purpose = request.purpose;
        return Err(Status::invalid_argument(format!(
            "purpose {purpose} is not known"
        )));
    }
    if request.csr_pem.len() > LARGEST {
        return Err(Status::invalid_argument(format!(
            "csr_pem has {} bytes, more than {LARGEST}",
            request.csr_pem.len()
        )));
    }
    let identity = peer.identity();
    let (identity, names) = identity
        .and_then(|identity| Some((identity, identity.machine.as_ref()?)))
        .ok_or_else(|| Status::permission_denied("only a machine of the cluster may ask"))?;
    if bundle.config.role() != Role::ControlPlane {
        return Err(Status::failed_precondition(
            "only a control plane machine signs for others: ask one",
        ));
    }
    let own = |usage, lifetime| LeafRequest {
        common_name: identity.name.clone(),
        organizations: vec![MACHINE_GROUP.to_owned()],
        usage,
        dns: names.dns.clone(),
        ips: names.ips.clone(),
        lifetime,
    };
    let (authority, leaf) = match purpose {
        // A server's certificate of a day proves nobody to anyone it asks: whoever steals one must
        // not get a year's identity for it.
        v1::CertificatePurpose::MachineApi => {
            let mut leaf = own(Usage::Server, Lifetime::MACHINE_API);
            // Not into what it will ask with again: addresses that it once had would stay its own
            // for ever.
            leaf.ips.insert(peer.remote().ip().to_canonical());
            (AuthorityKind::Machine, leaf)
        }
        v1::CertificatePurpose::KubeletClient => {
            // Until the first node has its pod subnet nobody else may have a node (stages, `Cluster`).
            if founding {
                return Err(Status::unavailable(
                    "the cluster is being made: ask again when its first node has joined",
                ));
            }
            let version = *bundle.config.kubernetes_version();
            let leaf = render::kubelet_leaf(&identity.name, version);
            (AuthorityKind::Kubernetes, leaf)
        }
        _ => (AuthorityKind::Machine, own(Usage::Both, Lifetime::LEAF)),
    };
    let secrets = bundle.secrets.as_ref();
    let authority = secrets.and_then(|secrets| secrets.authority(authority));
    let authority =
        authority.ok_or_else(|| Status::failed_precondition("the authority's key is not here"))?;
    authority
        .sign_csr(&request.csr_pem, &leaf, now)
        .map_err(|e| match e {
            PkiError::SigningRequest { .. } => Status::invalid_argument(convert::chain(&e)),
            _ => Status::internal(convert::chain(&e)),
        })
}

#[cfg(test)]
mod tests;
