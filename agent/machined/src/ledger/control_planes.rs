//! Where the cluster's control planes are, as this machine has last heard: with it a machine finds
//! them after a power cut also while the cluster's endpoint leads nowhere.

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{LedgerError, io};
use crate::durable;

const FILE: &str = "control-planes";
const VERSION: u32 = 1;

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    version: u32,
    addresses: Vec<IpAddr>,
}

// Only a memory: without it the endpoint is asked, so what is damaged is as if it were not there.
pub(super) fn read(directory: &Path) -> Vec<IpAddr> {
    let kept: Kept = std::fs::read(directory.join(FILE))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    match kept.version {
        VERSION => kept.addresses,
        _ => Vec::new(),
    }
}

pub(super) fn keep(directory: &Path, addresses: &[IpAddr]) -> Result<(), LedgerError> {
    let path = directory.join(FILE);
    let kept = Kept {
        version: VERSION,
        addresses: addresses.to_vec(),
    };
    let bytes = serde_json::to_vec(&kept).map_err(|e| io("encode", &path)(e.into()))?;
    durable::replace(&path, &bytes, 0o600).map_err(io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn what_was_kept_is_read_and_what_is_damaged_is_not_there() {
        let scratch = Scratch::new();
        assert_eq!(read(scratch.path()), [] as [IpAddr; 0]);
        let addresses = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        keep(scratch.path(), &addresses).unwrap();
        assert_eq!(read(scratch.path()), addresses);
        let frozen = std::fs::read_to_string(scratch.path().join(FILE)).unwrap();
        assert_eq!(
            frozen,
            r#"{"version":1,"addresses":["10.0.0.1","fd00::1"]}"#
        );
        for damaged in ["", "{", r#"{"version":2,"addresses":["10.0.0.1"]}"#] {
            durable::replace(&scratch.path().join(FILE), damaged.as_bytes(), 0o600).unwrap();
            assert_eq!(read(scratch.path()), [] as [IpAddr; 0]);
        }
    }
}
