//! What belongs to whose etcd: an authority to the cluster's own, a client's certificate to another.

use machine_pki::{inspect, key_matches};

use super::{Holder, check_certificate, missing, not_for, only_section};
use crate::document::{EtcdClientSection, SecretsDocument};
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::Role;

/// Judges which of the two is there. A cluster's own secrets, of which no machine is known yet, may
/// hold both.
pub(super) fn whose(document: &SecretsDocument, holder: &Holder, report: &mut Report<'_>) {
    let root = Path::root();
    let (authority, client) = (root.key("etcdCA"), root.key("externalEtcd"));
    let there = (document.etcd_ca.is_some(), document.external_etcd.is_some());
    if let Some(role @ (Role::Worker | Role::Etcd)) = holder.role
        && there.1
    {
        report.key(&client, not_for(role));
    }
    if holder.role == Some(Role::Etcd) && !there.0 {
        report.value(&authority, missing(Role::Etcd));
    }
    if holder.role != Some(Role::ControlPlane) {
        return;
    }
    match (holder.external_etcd, there) {
        (Some(true), (of_its_own, of_another)) => {
            if of_its_own {
                let fault = Fault::new("signs nothing: etcd is external");
                report.key(&authority, fault.hint("remove it from this machine's part"));
            }
            if !of_another {
                let fault = Fault::new("is missing, and cluster.etcd.external needs it");
                report.value(
                    &client,
                    fault.hint("ca, certificate and key, from who runs that etcd"),
                );
            }
        }
        (Some(false), (_, true)) => {
            let fault = Fault::new("is of no use without cluster.etcd.external");
            report.key(&client, fault.hint("remove it from this machine's part"));
            if !there.0 {
                report.value(&authority, missing(Role::ControlPlane));
            }
        }
        (Some(false), (false, false)) | (None, (false, false)) => {
            report.value(&authority, missing(Role::ControlPlane));
        }
        _ => {}
    }
}

/// Judges a client's part.
pub(super) fn judge(section: &EtcdClientSection, report: &mut Report<'_>) {
    let at = Path::root().key("externalEtcd");
    if let Err(fault) = check_certificate(&section.ca) {
        report.wrong(&at.key("ca"), fault);
    }
    if let Err(fault) = only_section(&section.certificate, "CERTIFICATE") {
        report.wrong(&at.key("certificate"), fault);
    } else if inspect(&section.certificate).is_err() {
        report.wrong(
            &at.key("certificate"),
            Fault::new("is not a PEM certificate"),
        );
    } else if !key_matches(&section.certificate, &section.key) {
        let fault = Fault::new("is not the private key of the certificate beside it");
        report.value(&at.key("key"), fault);
    }
}
