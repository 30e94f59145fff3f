//! Leaves: keys made here, certificates signed by the authorities this machine
//! holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use machine_config::{Bundle, ClusterSecrets};
use machine_pki::{Authority, AuthorityKind, Secret, inspect, issued_by, key_matches};
use machine_plan::digest::digest;
use machine_plan::observed::{LeafSeen, Probe};
use machine_plan::render::{self, Leaf, Place};
use machine_plan::yaml;
use serde_json::Value;

use super::{NodeError, files};
use crate::durable;

/// What earlier looks found of leaves that have not changed since: checking
/// signatures and keys is most of what a look at a settled machine costs.
#[derive(Default)]
pub struct Seen(Mutex<BTreeMap<&'static str, (String, LeafSeen)>>);

/// Every leaf's certificate and key as they are on disk.
pub fn look(leaves: &[Leaf], bundle: &Bundle, before: &Seen) -> BTreeMap<String, Probe<LeafSeen>> {
    leaves
        .iter()
        .map(|leaf| (leaf.name.to_owned(), look_at(leaf, bundle, before)))
        .collect()
}

fn look_at(leaf: &Leaf, bundle: &Bundle, before: &Seen) -> Probe<LeafSeen> {
    let missing = |path: &str| !Path::new(path).exists();
    let found = match &leaf.place {
        Place::Pair { certificate, key } if missing(certificate) || missing(key) => {
            return Probe::Absent;
        }
        Place::Kubeconfig { path, .. } if missing(path) => return Probe::Absent,
        Place::Pair { certificate, key } => read_pair(certificate, key),
        Place::Kubeconfig { path, .. } => read_kubeconfig(path),
    };
    let seen = found.and_then(|found| before.check(leaf, found, bundle));
    seen.map_or_else(Probe::Unreadable, Probe::Seen)
}

impl Seen {
    fn check(
        &self,
        leaf: &Leaf,
        (certificate, key, server): (String, Secret, Option<String>),
        bundle: &Bundle,
    ) -> Result<LeafSeen, String> {
        let secrets = bundle.secrets.as_ref();
        let authority = secrets.and_then(|s| authority_certificate(s, leaf.authority));
        let parts = [
            certificate.as_str(),
            key.expose(),
            authority.unwrap_or_default(),
            server.as_deref().unwrap_or_default(),
        ];
        let mark = digest_of(&parts);
        let mut before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, seen)) = before.get(leaf.name).filter(|(known, _)| *known == mark) {
            return Ok(seen.clone());
        }
        let seen = LeafSeen {
            facts: inspect(&certificate).map_err(|e| e.to_string())?,
            key_matches: key_matches(&certificate, &key),
            authority_matches: authority.is_some_and(|ca| issued_by(&certificate, ca)),
            server,
        };
        before.insert(leaf.name, (mark, seen.clone()));
        Ok(seen)
    }
}

// Each part's own digest, so that no two lists of parts have one text.
fn digest_of(parts: &[&str]) -> String {
    let each: Vec<_> = parts.iter().map(|part| digest(part.as_bytes())).collect();
    digest(each.join(" ").as_bytes())
}

type Found = Result<(String, Secret, Option<String>), String>;

fn read_pair(certificate: &str, key: &str) -> Found {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    Ok((read(certificate)?, Secret::new(read(key)?), None))
}

fn read_kubeconfig(path: &str) -> Found {
    let text = Secret::new(std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?);
    let config = yaml::read_one(text.expose()).map_err(|_| format!("{path}: not YAML"))?;
    let field = |pointer: &str| {
        let value = config.pointer(pointer).and_then(Value::as_str);
        value.ok_or_else(|| format!("{path}: no {pointer}"))
    };
    let decode = |pointer: &str| {
        let bytes = data_encoding::BASE64.decode(field(pointer)?.as_bytes());
        let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| format!("{path}: {pointer} is not base64 of text"))
    };
    let certificate = decode("/users/0/user/client-certificate-data")?;
    let key = Secret::new(decode("/users/0/user/client-key-data")?);
    Ok((
        certificate,
        key,
        Some(field("/clusters/0/cluster/server")?.to_owned()),
    ))
}

/// Makes a key and a certificate and puts them in place.
pub fn issue(leaf: &Leaf, bundle: &Bundle, now: SystemTime) -> Result<(), NodeError> {
    let fail = |why: String| NodeError::Leaf {
        leaf: leaf.name.to_owned(),
        why,
    };
    let secrets = bundle
        .secrets
        .as_ref()
        .ok_or_else(|| fail("this machine has no secrets".into()))?;
    let authority = authority(secrets, leaf.authority).map_err(fail)?;
    let issued = authority
        .issue(&leaf.request, now)
        .map_err(|e| fail(e.to_string()))?;
    let written = match &leaf.place {
        // The key first: after a cut between the two, key and certificate do not
        // match, which the next look sees and mends.
        Place::Pair { certificate, key } => put(key, issued.key.expose(), 0o600)
            .and_then(|()| put(certificate, &issued.certificate_pem, 0o644)),
        Place::Kubeconfig {
            path,
            server,
            user,
            cluster,
        } => {
            // Of the authority that has just signed it.
            let ca = authority_certificate(secrets, leaf.authority).unwrap_or_default();
            let text = render::kubeconfig(
                cluster,
                server,
                ca,
                user,
                &issued.certificate_pem,
                &issued.key,
            );
            put(path, text.expose(), 0o600)
        }
    };
    written.map_err(|e| fail(e.to_string()))
}

fn put(path: &str, text: &str, mode: u32) -> std::io::Result<()> {
    let path = Path::new(path);
    // Directories of certificates are readable: pods mount them.
    files::make_parent(path, 0o644)?;
    durable::replace(path, text.as_bytes(), mode)
}

/// The authority with its key, where this machine holds it.
pub fn authority(secrets: &ClusterSecrets, kind: AuthorityKind) -> Result<Authority, String> {
    let pair = secrets.ca(kind);
    let pair = pair.ok_or_else(|| format!("no {kind:?} authority in the secrets"))?;
    let key = pair
        .key
        .as_ref()
        .ok_or_else(|| format!("this machine does not hold the {kind:?} authority's key"))?;
    Authority::from_pem(kind, &pair.certificate, key).map_err(|e| e.to_string())
}

fn authority_certificate(secrets: &ClusterSecrets, kind: AuthorityKind) -> Option<&str> {
    secrets.ca(kind).map(|pair| pair.certificate.as_str())
}
