//! etcd's data as files: what is restored beside it, put in its place, and kept aside. Every step is a
//! rename, done or not done.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use machine_plan::observed::{Probe, Restored};
use machine_plan::order::Source;
use machine_plan::render::ETCD_DATA;
use rustix::fs::{FlockOperation, flock};

use crate::durable;
use crate::ledger::{Ledger, LedgerError};
use crate::node::NodeError;

/// What etcd calls its part of the folder.
const MEMBER: &str = "member";

/// How the ids of orders to recover begin.
const RECOVERY: &str = "recover-";

/// The folder that etcd keeps its data in.
#[derive(Debug, Clone)]
pub struct Data(PathBuf);

impl Default for Data {
    fn default() -> Self {
        Self::at(ETCD_DATA)
    }
}

impl Data {
    /// In this folder; tests bring their own.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Whether an etcd has it open. It holds its database locked, also while it only ends.
    pub fn runs(&self) -> Probe<()> {
        let file = match std::fs::File::open(self.database()) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Probe::Absent,
            Err(e) => return Probe::Unreadable(e.to_string()),
        };
        // Given back with the file.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Probe::Absent,
            Err(rustix::io::Errno::WOULDBLOCK) => Probe::Seen(()),
            Err(e) => Probe::Unreadable(e.to_string()),
        }
    }

    /// How far an order's new data is.
    pub fn restored(&self, order: &str) -> Restored {
        let whole = self.whole(order);
        match (whole.join(MEMBER).exists(), whole.exists()) {
            (true, _) => Restored::Whole,
            // What was in it is in place.
            (false, true) => Restored::InPlace,
            (false, false) => Restored::Nothing,
        }
    }

    /// What the restoring program has to be told: variables, one a line. What an earlier try left is
    /// taken away.
    pub fn prepare(
        &self,
        order: &str,
        from: &Source,
        (name, peer_url): (&str, &str),
        ledger: &Ledger,
    ) -> Result<String, NodeError> {
        let part = self.part(order);
        match durable::remove_all(&part) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed("remove", &part, e)),
            _ => {}
        }
        let (source, hash) = match from {
            Source::Snapshot { sha256 } => (ledger.etcd_snapshot(sha256), ""),
            // A file in use has no digest at its end.
            Source::Data => (self.database(), "--skip-hash-check"),
        };
        Ok(format!(
            "SOURCE={}\nTARGET={}\nNAME={name}\nPEER_URL={peer_url}\nTOKEN={order}\nHASH={hash}\n",
            source.display(),
            part.display()
        ))
    }

    /// What the program has made is whole and lasts.
    pub fn settle(&self, order: &str) -> Result<(), NodeError> {
        let part = self.part(order);
        durable::sync_all(&part).map_err(|e| failed("sync", &part, e))?;
        self.rename(&part, &self.whole(order))
    }

    /// Puts it in the place of what is there, which is kept.
    pub fn place(&self, order: &str, ledger: &Ledger) -> Result<(), NodeError> {
        let whole = self.whole(order);
        if self.restored(order) != Restored::Whole {
            return Ok(());
        }
        self.set_aside(order, ledger)?;
        self.rename(&whole.join(MEMBER), &self.0.join(MEMBER))?;
        durable::sync(&whole).map_err(|e| failed("sync", &whole, e))
    }

    /// Keeps what is there aside. Who the machine was is forgotten first: with its data it would be
    /// found again, without it it must not be.
    pub fn set_aside(&self, order: &str, ledger: &Ledger) -> Result<(), NodeError> {
        ledger.forget_membership()?;
        let member = self.0.join(MEMBER);
        match member.exists() {
            true => self.rename(&member, &self.0.join(format!("{MEMBER}.before-{order}"))),
            false => Ok(()),
        }
    }

    /// Notes the end; what only served the way is removed then, and only then.
    pub fn finish(&self, order: &str, ledger: &Ledger) -> Result<(), LedgerError> {
        ledger.finish_etcd_order(order)?;
        let _ = durable::remove_all(&self.whole(order));
        Ok(())
    }

    /// Takes away what served the way of orders that are over, or was half made for one that another
    /// took the place of: the agent may have ended before it did. `open`: the order that is not over.
    pub fn tidy_up(&self, open: Option<&str>) {
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let order = name.strip_suffix(".part").unwrap_or(&name);
            if order.starts_with(RECOVERY) && Some(order) != open {
                // What cannot be removed now is by the next run of the agent.
                let _ = durable::remove_all(&entry.path());
            }
        }
    }

    fn database(&self) -> PathBuf {
        self.0.join(MEMBER).join("snap").join("db")
    }

    fn part(&self, order: &str) -> PathBuf {
        self.0.join(format!("{order}.part"))
    }

    fn whole(&self, order: &str) -> PathBuf {
        self.0.join(order)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), NodeError> {
        durable::rename(from, to).map_err(|e| failed("rename", from, e))?;
        durable::sync(&self.0).map_err(|e| failed("sync", &self.0, e))
    }
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> NodeError {
    NodeError::File {
        operation,
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture;
    use crate::testing::Scratch;

    fn put(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        durable::replace(path, text.as_bytes(), 0o600).unwrap();
    }

    #[test]
    fn what_was_restored_takes_the_place_of_what_is_kept_however_often_it_is_asked() {
        let scratch = Scratch::new();
        let ledger = fixture::ledger(scratch.path());
        let data = Data::at(scratch.path().join("etcd"));
        let order = "recover-7";
        let database = data.database();
        put(&database, "old");
        assert_eq!(data.runs(), Probe::Absent);
        let held = std::fs::File::open(&database).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        assert_eq!(data.runs(), Probe::Seen(()));
        drop(held);

        // A try that was cut short is begun again.
        put(&data.part(order).join("member/snap/db"), "half");
        assert_eq!(data.restored(order), Restored::Nothing);
        let told = data.prepare(order, &Source::Data, ("cp1", "https://a:2380"), &ledger);
        let told = told.unwrap();
        assert!(
            told.contains("HASH=--skip-hash-check") && !data.part(order).exists(),
            "{told}"
        );
        put(&data.part(order).join("member/snap/db"), "new");
        data.settle(order).unwrap();
        // Cut short between the two renames.
        data.set_aside(order, &ledger).unwrap();
        for expected in [Restored::Whole, Restored::InPlace, Restored::InPlace] {
            assert_eq!(data.restored(order), expected);
            data.place(order, &ledger).unwrap();
        }
        assert_eq!(std::fs::read(&database).unwrap(), b"new");
        let kept = data.0.join("member.before-recover-7/snap/db");
        assert_eq!(std::fs::read(kept).unwrap(), b"old");
        put(&data.part("recover-9").join("member/snap/db"), "half");
        data.tidy_up(Some("recover-9"));
        assert!(data.part("recover-9").exists() && !data.whole(order).exists());
        data.tidy_up(None);
        assert!(!data.part("recover-9").exists());
        data.finish(order, &ledger).unwrap();
        data.set_aside("leave-8", &ledger).unwrap();
        data.set_aside("leave-8", &ledger).unwrap();
        assert!(!database.exists());
        assert!(data.0.join("member.before-leave-8/snap/db").exists());
    }
}
