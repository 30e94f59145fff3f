//! What a worker is known by at first: its own, whole, and signed by the cluster.

use machine_pki::{inspect, issued_by, key_matches};

use super::only_section;
use crate::document::IdentitySection;
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::secrets::{MACHINE_GROUP, MachineIdentity};
use crate::types::Role;

/// Judges an identity against the authority's certificate and the machine's name, where those are
/// known.
pub(super) fn judge(
    section: IdentitySection,
    authority: Option<&str>,
    role: Option<Role>,
    hostname: Option<&str>,
    report: &mut Report<'_>,
) -> MachineIdentity {
    let at = Path::root().key("machineIdentity");
    if let Some(role @ (Role::ControlPlane | Role::Etcd)) = role {
        let fault = Fault::new("is for workers");
        let hint = match role {
            Role::Etcd => "remove it; a machine of role etcd makes its own",
            _ => "remove it; a control plane machine makes its own",
        };
        report.key(&at, fault.hint(hint));
    } else if let Err((field, fault)) = check(&section, authority, hostname) {
        report.value(&at.key(field), fault);
    }
    MachineIdentity {
        certificate: section.certificate,
        key: section.key,
    }
}

fn check(
    section: &IdentitySection,
    authority: Option<&str>,
    hostname: Option<&str>,
) -> Result<(), (&'static str, Fault)> {
    const MADE: &str = "machinectl gen config makes one for each worker";
    let wrong = |message: String| ("certificate", Fault::new(message).hint(MADE));
    let pem = &section.certificate;
    only_section(pem, "CERTIFICATE").map_err(|fault| ("certificate", fault))?;
    let facts = inspect(pem).map_err(|_| wrong("is not a PEM certificate".to_owned()))?;
    if facts.is_ca || !facts.organizations.iter().any(|o| o == MACHINE_GROUP) {
        return Err(wrong(format!("is not of the group {MACHINE_GROUP}")));
    }
    if let Some(name) = hostname.filter(|name| **name != facts.common_name) {
        let message = format!("is for {:?}, not for {name:?}", facts.common_name);
        return Err(wrong(message));
    }
    if authority.is_some_and(|ca| !issued_by(pem, ca)) {
        return Err(wrong("is not signed by machineCA".to_owned()));
    }
    if !key_matches(pem, &section.key) {
        let fault = Fault::new("is not the private key of the certificate beside it");
        return Err(("key", fault.hint(MADE)));
    }
    Ok(())
}
