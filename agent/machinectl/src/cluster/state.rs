//! What a local cluster consists of, on disk.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::args::Size;
use super::probe::Speed;
use crate::context::user_folder;
use crate::failure::Failure;
use crate::files::{self, Access};

/// A cluster as its folder keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct State {
    /// Its name.
    pub(super) name: String,
    /// The loopback port of the network that its machines share; none where there is one machine.
    pub(super) shared_port: Option<u16>,
    /// Its machines; the first is the one that began the cluster.
    pub(super) machines: Vec<Machine>,
    /// How they are booted; none in a cluster of an earlier version.
    #[serde(default)]
    pub(super) boots: Option<Boots>,
}

/// How machines are booted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Boots {
    /// The image's folder.
    pub(super) image: PathBuf,
    /// What each machine has.
    pub(super) size: Size,
    /// How they run here.
    pub(super) speed: Speed,
}

/// One virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Machine {
    /// Its name, and its node's.
    pub(super) name: String,
    /// Where this host forwards to its machine API.
    pub(super) api_port: u16,
    /// Where this host forwards to its Kubernetes API.
    pub(super) kubernetes_port: u16,
    /// 16 bytes, hex: its identity, from which its hardware addresses come too.
    pub(super) id: String,
    /// Its address in the network that the machines share; none where it is alone.
    pub(super) address: Option<String>,
}

/// Where all clusters are.
pub(super) fn root() -> Result<PathBuf, Failure> {
    Ok(user_folder("XDG_STATE_HOME", ".local/state")?.join("machinectl/clusters"))
}

/// A cluster's folder.
pub(super) fn folder(name: &str) -> Result<PathBuf, Failure> {
    // It becomes part of paths, so it must be as plain as a hostname.
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 40 || !name.chars().all(plain) || name.starts_with('-') {
        return Err(Failure::usage(format!(
            "`{name}` is no name for a cluster: use small letters, digits and `-`"
        )));
    }
    Ok(root()?.join(name))
}

const FILE: &str = "cluster.json";

impl State {
    /// Writes the folder's description.
    pub(super) fn save(&self, folder: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::failed(format!("write {FILE}: {error}")))?;
        files::write(&folder.join(FILE), &text, Access::Owner)
    }

    /// Reads it back.
    pub(super) fn load(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        serde_json::from_slice(&files::read(&path)?)
            .map_err(|error| Failure::failed(format!("read {}: {error}", path.display())))
    }
}

impl Machine {
    /// As a DMI UUID, version 4.
    pub(super) fn uuid(&self) -> String {
        let id = format!("{:0<32}", self.id);
        format!(
            "{}-{}-4{}-8{}-{}",
            &id[..8],
            &id[8..12],
            &id[13..16],
            &id[17..20],
            &id[20..32]
        )
    }

    /// A hardware address for one of its two cards, from QEMU's range.
    pub(super) fn mac(&self, card: u8) -> String {
        let id = format!("{:0<32}", self.id);
        format!("52:54:0{card}:{}:{}:{}", &id[..2], &id[2..4], &id[4..6])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            name: "cp1".into(),
            api_port: 1,
            kubernetes_port: 2,
            id: "00112233445566778899aabbccddeeff".into(),
            address: None,
        }
    }

    #[test]
    fn identities_have_the_shape_that_firmware_wants() {
        assert_eq!(machine().uuid(), "00112233-4455-4677-8899-aabbccddeeff");
        assert_eq!(machine().mac(1), "52:54:01:00:11:22");
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for name in ["", "..", "a/b", "-a", "A", "a b", "ä"] {
            assert!(folder(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let state = State {
            name: "local".into(),
            shared_port: Some(3),
            machines: vec![machine()],
            boots: None,
        };
        state.save(dir.path()).unwrap();
        assert_eq!(State::load(dir.path()).unwrap(), state);
    }
}
