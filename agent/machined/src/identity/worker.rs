//! A worker's identity: what it was enrolled with at first; then a longer-lived
//! one whose key was made here, kept on disk; and of those the day's certificate.

use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use machine_config::{ClusterSecrets, MachineIdentity};
use machine_pki::leaf::Lifetime;
use machine_pki::{Secret, inspect, is_current, issued_by, key_matches};
use machined_proto::v1::CertificatePurpose;

use super::{credentials, secrets};
use crate::api::Credentials;
use crate::durable;
use crate::ledger::Entry;
use crate::node::kubelet;
use crate::node::signer::{self, Link};

/// What the API shows until a control plane machine has signed: the kept identity
/// or the enrolled one. With neither, a certificate nobody believes: the agent
/// must go on working, and its console and journal say what is missing.
pub(super) fn first(entry: &Entry, kept: &Path) -> anyhow::Result<Credentials> {
    let secrets = secrets(entry)?;
    match own(entry, secrets, kept, SystemTime::now()) {
        Some(own) => Ok(credentials(secrets, own.certificate, own.key)),
        None => Ok(Credentials {
            client_authority_pem: Some(secrets.machine_ca.certificate.clone()),
            ..Credentials::ephemeral(SystemTime::now())?
        }),
    }
}

/// Asks for kubelet's certificate and puts it into its folder.
pub(super) async fn ask_for_kubelet(
    entry: &Entry,
    kept: &Path,
    at: (&str, u16),
    folder: &Path,
) -> anyhow::Result<()> {
    let (link, _) = connect(entry, kept, at).await?;
    let name = entry.bundle.config.hostname().as_str();
    let signed = signer::sign(&link, name, CertificatePurpose::KubeletClient).await?;
    kubelet::keep(folder, &signed, SystemTime::now())
        .with_context(|| format!("keep kubelet's certificate in {}", folder.display()))
}

/// Asks for the day's certificate, and for a new identity when the kept one is
/// past half its life or was not made here.
pub(super) async fn ask(
    entry: &Entry,
    kept: &Path,
    at: (&str, u16),
) -> anyhow::Result<Credentials> {
    let (secrets, config) = (secrets(entry)?, &entry.bundle.config);
    let (now, (link, own)) = (SystemTime::now(), connect(entry, kept, at).await?);
    let name = config.hostname().as_str();
    if secrets.machine_identity.as_ref() == Some(&own) || past_half(&own.certificate, now) {
        let fresh = signer::sign(&link, name, CertificatePurpose::MachineIdentity).await?;
        if fits(&fresh, secrets, name) {
            keep(kept, &fresh)?;
        }
    }
    let fresh = signer::sign(&link, name, CertificatePurpose::MachineApi).await?;
    anyhow::ensure!(
        fits(&fresh, secrets, name),
        "{} signed something else than was asked for",
        link.at
    );
    Ok(credentials(secrets, fresh.certificate, fresh.key))
}

async fn connect(
    entry: &Entry,
    kept: &Path,
    at: (&str, u16),
) -> anyhow::Result<(Link, MachineIdentity)> {
    let secrets = secrets(entry)?;
    let own = own(entry, secrets, kept, SystemTime::now())
        .ok_or_else(|| anyhow::anyhow!("this worker's secrets have no machineIdentity"))?;
    Ok((signer::connect(at, secrets, &own).await?, own))
}

/// The kept identity while it is good, else the enrolled one. The enrolled one is
/// tried even when it looks expired: the clock may be what is wrong.
fn own(
    entry: &Entry,
    secrets: &ClusterSecrets,
    kept: &Path,
    now: SystemTime,
) -> Option<MachineIdentity> {
    let name = entry.bundle.config.hostname().as_str();
    let good = |own: &MachineIdentity| fits(own, secrets, name);
    let kept = load(kept).filter(good);
    let enrolled = secrets.machine_identity.clone().filter(good);
    // A newer enrolled one was sent on purpose, perhaps with other names.
    let later = |own: &MachineIdentity| inspect(&own.certificate).map_or(0, |f| f.not_before);
    let newest = match (kept, enrolled) {
        (Some(kept), Some(enrolled)) if later(&enrolled) > later(&kept) => {
            [Some(enrolled), Some(kept)]
        }
        (kept, enrolled) => [kept, enrolled],
    };
    let current = newest
        .iter()
        .flatten()
        .find(|own| is_current(&own.certificate, now));
    current.or(newest.iter().flatten().next()).cloned()
}

fn fits(own: &MachineIdentity, secrets: &ClusterSecrets, name: &str) -> bool {
    issued_by(&own.certificate, &secrets.machine_ca.certificate)
        && key_matches(&own.certificate, &own.key)
        && inspect(&own.certificate).is_ok_and(|facts| facts.common_name == name)
}

fn past_half(certificate: &str, now: SystemTime) -> bool {
    let half = now.checked_add(Lifetime::LEAF / 2);
    half.is_none_or(|half| !is_current(certificate, half))
}

// One file, so that certificate and key are never of two generations.
fn keep(path: &Path, own: &MachineIdentity) -> anyhow::Result<()> {
    let text = Secret::new(format!("{}{}", own.certificate, own.key.expose()));
    durable::replace(path, text.expose().as_bytes(), 0o600)
        .map_err(|e| anyhow::anyhow!("keep this machine's identity in {}: {e}", path.display()))
}

fn load(path: &Path) -> Option<MachineIdentity> {
    let text = Secret::new(std::fs::read_to_string(path).ok()?);
    let at = text.expose().find("-----BEGIN PRIVATE KEY-----")?;
    let (certificate, key) = text.expose().split_at(at);
    Some(MachineIdentity {
        certificate: certificate.to_owned(),
        key: Secret::new(key.to_owned()),
    })
}

#[cfg(test)]
mod tests;
