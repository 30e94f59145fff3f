//! Orders about this machine's member of etcd, and the snapshot that one may come with. One order is
//! on record at a time: a new one takes the place of the last, carried out or not.

use std::path::{Path, PathBuf};

use machine_plan::order::{EtcdOrder, EtcdVerb, Source};

use super::{LedgerError, Now, io};
use crate::durable;

const FILE: &str = "etcd.order";

/// How the snapshots' names begin; the digest follows.
const SNAPSHOT: &str = "etcd-snapshot-";

pub(super) fn read(directory: &Path) -> Result<Option<EtcdOrder>, LedgerError> {
    let path = directory.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io("read", &path)(e)),
    };
    let read = serde_json::from_slice::<EtcdOrder>(&bytes).map_err(std::io::Error::from);
    let read = read.and_then(|order| match order.version {
        EtcdOrder::VERSION => Ok(order),
        other => Err(std::io::Error::other(format!(
            "its version is {other}, this agent knows {}",
            EtcdOrder::VERSION
        ))),
    });
    read.map(Some).map_err(io("understand", &path))
}

pub(super) fn order(
    directory: &Path,
    verb: EtcdVerb,
    by: &str,
    now: &Now,
) -> Result<String, LedgerError> {
    let last = read(directory)?;
    if let Some(last) = last.as_ref().filter(|last| !last.done && last.verb == verb) {
        return Ok(last.id.clone());
    }
    // A clock that was set back must not make an id of before: it is in names of what is kept.
    let after = last.map_or(0, |last| last.ordered_ms + 1);
    let ordered_ms = now.wall_ms.max(after);
    let order = EtcdOrder {
        version: EtcdOrder::VERSION,
        id: format!("{}-{ordered_ms}", verb.word()),
        by: by.to_owned(),
        ordered_ms,
        verb,
        done: false,
    };
    write(directory, &order)?;
    tidy(directory, Some(&order));
    Ok(order.id)
}

pub(super) fn finish(directory: &Path, id: &str) -> Result<(), LedgerError> {
    if let Some(order) = read(directory)?.filter(|order| order.id == id && !order.done) {
        write(
            directory,
            &EtcdOrder {
                done: true,
                ..order
            },
        )?;
        tidy(directory, None);
    }
    Ok(())
}

/// Takes back that the machine stays out; what is open is called off.
pub(super) fn forget(directory: &Path) -> Result<(), LedgerError> {
    if let Some(order) = read(directory)? {
        // Its time stays on record: ids only grow.
        let verb = EtcdVerb::Discard;
        write(
            directory,
            &EtcdOrder {
                verb,
                done: true,
                ..order
            },
        )?;
        tidy(directory, None);
    }
    Ok(())
}

/// Where a snapshot of this digest is, or goes.
pub(super) fn snapshot(directory: &Path, sha256: &str) -> PathBuf {
    directory.join(format!("{SNAPSHOT}{sha256}"))
}

/// Takes away what an agent left that ended between an order's end and the removal of its snapshot, or
/// before there was an order. What cannot be read may still need its snapshot.
pub(super) fn tidy_up(directory: &Path) {
    if let Ok(last) = read(directory) {
        tidy(directory, last.filter(|order| !order.done).as_ref());
    }
}

// It holds every Secret: none stays longer than its order. What cannot be removed now is by the next,
// or by the next run of the agent.
fn tidy(directory: &Path, order: Option<&EtcdOrder>) {
    let needed = order.and_then(|order| match &order.verb {
        EtcdVerb::Recover(Source::Snapshot { sha256 }) => Some(snapshot(directory, sha256)),
        _ => None,
    });
    for file in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_one = file.file_name().to_string_lossy().contains(SNAPSHOT);
        if is_one && Some(file.path()) != needed {
            let _ = durable::remove(&file.path());
        }
    }
}

fn write(directory: &Path, order: &EtcdOrder) -> Result<(), LedgerError> {
    let path = directory.join(FILE);
    let bytes = serde_json::to_vec(order).map_err(|e| io("encode", &path)(e.into()))?;
    durable::replace(&path, &bytes, 0o600).map_err(io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn now(wall_ms: i64) -> Now {
        Now {
            wall_ms,
            boot_id: "boot".to_owned(),
            boottime_ms: 0,
        }
    }

    #[test]
    fn an_order_is_kept_carried_out_once_and_its_snapshot_goes_with_it() {
        let scratch = Scratch::new();
        let at = scratch.path();
        let recover = |sha256: &str| {
            EtcdVerb::Recover(Source::Snapshot {
                sha256: sha256.to_owned(),
            })
        };
        durable::replace(&snapshot(at, "aa"), b"old", 0o600).unwrap();
        durable::replace(&snapshot(at, "bb"), b"new", 0o600).unwrap();
        let id = order(at, recover("bb"), "alice", &now(7)).unwrap();
        assert_eq!(id, "recover-7");
        assert_eq!(
            order(at, recover("bb"), "bob", &now(9)).unwrap(),
            id,
            "the same again"
        );
        assert!(!snapshot(at, "aa").exists() && snapshot(at, "bb").exists());
        finish(at, "recover-6").unwrap();
        assert!(!read(at).unwrap().unwrap().done, "another order's end");
        finish(at, &id).unwrap();
        assert!(read(at).unwrap().unwrap().done && !snapshot(at, "bb").exists());
        // The clock went back.
        durable::replace(&snapshot(at, "cc"), b"of no order", 0o600).unwrap();
        tidy_up(at);
        assert!(!snapshot(at, "cc").exists());
        let leave = order(at, EtcdVerb::Leave, "alice", &now(3)).unwrap();
        assert_eq!(leave, "leave-8");
        forget(at).unwrap();
        let last = read(at).unwrap().unwrap();
        assert!(last.done && last.verb != EtcdVerb::Leave);
    }

    #[test]
    fn an_order_on_disk_is_read_as_it_was_written() {
        let scratch = Scratch::new();
        let text = r#"{"version":1,"id":"recover-7","by":"alice","ordered_ms":7,"verb":{"recover":{"snapshot":{"sha256":"aa"}}},"done":false}"#;
        durable::replace(&scratch.path().join(FILE), text.as_bytes(), 0o600).unwrap();
        let order = read(scratch.path()).unwrap().unwrap();
        assert_eq!(serde_json::to_string(&order).unwrap(), text);
        let newer = text.replace("\"version\":1", "\"version\":2");
        durable::replace(&scratch.path().join(FILE), newer.as_bytes(), 0o600).unwrap();
        assert!(read(scratch.path()).is_err());
    }
}
