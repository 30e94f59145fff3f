//! The conditions of one look: pure.

use std::time::Duration;

use machine_plan::desired::ETCD;
use machine_plan::observed::{Observed, Probe, Room};
use machine_plan::stages::Stage;

use super::{Condition, Kind};
use crate::clock;
use crate::status::StageStatus;

/// Less than this is hardly any room …
const ROOM: u64 = 100 << 20;
/// … or this part of a smaller file system.
const PART: u64 = 50;
/// Fewer files than this that can still be made.
const FILES: u64 = 1000;

/// How long etcd may be silent while kubelet runs: it starts, and defragments.
pub const ETCD_SILENCE: Duration = Duration::from_secs(60);

/// All that conditions are made from.
pub struct Look<'a> {
    /// What was seen.
    pub observed: &'a Observed,
    /// What became of it.
    pub stages: &'a [StageStatus],
    /// Files of the ledger that cannot be used.
    pub unreadable: &'a [String],
    /// Why the ledger cannot be written, if it cannot.
    pub unwritable: Option<&'a str>,
    /// Who ends again and again, and its last lines.
    pub loops: &'a [Looping],
    /// How long etcd has been silent though it should serve.
    pub etcd_silent: Option<Duration>,
    /// What is known of the time.
    pub clock: &'a clock::View,
    /// What was wrong before.
    pub before: &'a [Condition],
}

/// One that ends again and again.
#[derive(Debug, Clone)]
pub struct Looping {
    /// A unit or a static pod.
    pub name: String,
    /// Restarts in all.
    pub restarts: u32,
    /// How a unit ended last; a pod's end is kubelet's to know.
    pub end: Option<String>,
    /// What it logged last.
    pub log: Vec<String>,
}

/// All of them, in no order that means anything.
pub fn of(look: &Look<'_>) -> Vec<Condition> {
    let mut found = Vec::new();
    units(look, &mut found);
    file_systems(look, &mut found);
    ledger(look, &mut found);
    if let Some(why) = clock::wrong(look.clock) {
        found.push(Condition::new(Kind::ClockWrong, "clock", why));
    }
    if look.etcd_silent.is_some_and(|s| s >= ETCD_SILENCE) {
        let message = match &look.observed.etcd_health {
            Probe::Unreadable(why) => format!("it does not say that it is healthy: {why}"),
            _ => "nothing listens on its health port".to_owned(),
        };
        let down = Condition::new(Kind::EtcdDown, "etcd", message);
        found.push(match look.observed.units.contains_key(ETCD) {
            true => down.next("see machinectl logs etcd; its data is on /var/lib/etcd"),
            false => down,
        });
    }
    for stage in look.stages.iter().filter(|s| s.verdict == "failed") {
        let own = match stage.name == Stage::Firewall.word() {
            true => Kind::FirewallNotLoaded,
            false => Kind::StageFailed,
        };
        let kind = refused(&stage.message).unwrap_or(own);
        found.push(Condition::new(kind, stage.name, stage.message.clone()));
    }
    found
}

fn units(look: &Look<'_>, found: &mut Vec<Condition>) {
    let units = &look.observed.units;
    let silent = units.iter().find_map(|(unit, probe)| match probe {
        Probe::Unreadable(why) => Some((unit, why)),
        _ => None,
    });
    if let Some((unit, why)) = silent {
        let message = format!("cannot ask systemd about {unit}: {why}");
        found.push(Condition::new(Kind::BusAway, "system bus", message));
    }
    for running in look.loops {
        let (kind, message) = match &running.end {
            Some(end) => (
                Kind::UnitCrashLoop,
                format!("{} restarts, last result {end}", running.restarts),
            ),
            None => (
                Kind::PodCrashLoop,
                format!("its container was restarted {} times", running.restarts),
            ),
        };
        let mut condition = Condition::new(kind, &running.name, message);
        condition.next_step = condition.next_step.replace("UNIT", &running.name);
        condition.log.clone_from(&running.log);
        found.push(condition);
    }
}

fn file_systems(look: &Look<'_>, found: &mut Vec<Condition>) {
    for (place, probe) in &look.observed.file_systems {
        let Probe::Seen(room) = probe else { continue };
        let was = |c: &Condition| c.kind == Kind::DiskFull && c.object == *place;
        if let Some(message) = short_of(room, look.before.iter().any(was)) {
            found.push(Condition::new(Kind::DiskFull, place, message));
        }
    }
}

/// What it is short of, if anything. Once it was, twice the room ends it, so
/// that writing about it does not bring it back.
pub fn short_of(room: &Room, was: bool) -> Option<String> {
    let factor = if was { 2 } else { 1 };
    let enough = ROOM.min(room.bytes / PART) * factor;
    if room.free_bytes < enough {
        let mib = |bytes: u64| bytes >> 20;
        return Some(format!(
            "{} MiB of {} MiB left",
            mib(room.free_bytes),
            mib(room.bytes)
        ));
    }
    let files = room.free_files?;
    (files < FILES * factor).then(|| format!("room for {files} more files"))
}

fn ledger(look: &Look<'_>, found: &mut Vec<Condition>) {
    if let Some(first) = look.unreadable.first() {
        let message = match look.unreadable.len() {
            1 => first.clone(),
            n => format!("{first}, and {} more", n - 1),
        };
        found.push(
            Condition::new(Kind::StateUnreadable, "ledger", message).next(
                "the last good generation is in force; apply the config again. \
                 The damaged files are kept",
            ),
        );
    }
    if let Some(why) = look.unwritable {
        let kind = refused(why).unwrap_or(Kind::StateUnwritable);
        found.push(Condition::new(kind, "ledger", why));
    }
}

/// Whether an error is one of a full or read-only file system. By the number
/// that every error of the system ends with: adapters only keep the text.
fn refused(message: &str) -> Option<Kind> {
    let has = |number: u32| message.contains(&format!("(os error {number})"));
    match () {
        // ENOSPC, EDQUOT; EROFS.
        () if has(28) || has(122) => Some(Kind::DiskFull),
        () if has(30) => Some(Kind::DiskReadOnly),
        () => None,
    }
}
