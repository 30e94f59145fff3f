//! How full the file systems are whose fullness stops a node.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use machine_plan::observed::{Probe, Room};

/// The state partition and, where it is one of its own, etcd's.
const PLACES: [&str; 2] = ["/var", "/var/lib/etcd"];

/// By mount point; a place on the same file system as one before is left out.
pub fn look() -> BTreeMap<String, Probe<Room>> {
    let (mut seen, mut found) = (Vec::new(), BTreeMap::new());
    for place in PLACES {
        let probe = match rustix::fs::statvfs(place) {
            Ok(facts) if seen.contains(&facts.f_fsid) => continue,
            Ok(facts) => {
                seen.push(facts.f_fsid);
                Probe::Seen(Room {
                    bytes: facts.f_blocks.saturating_mul(facts.f_frsize),
                    free_bytes: facts.f_bavail.saturating_mul(facts.f_frsize),
                    free_files: (facts.f_files > 0).then_some(facts.f_favail),
                })
            }
            Err(e) if std::io::Error::from(e).kind() == ErrorKind::NotFound => continue,
            Err(e) => Probe::Unreadable(e.to_string()),
        };
        found.insert(place.to_owned(), probe);
    }
    found
}
