//! What is wrong, by names that people and programs match on.

use machine_plan::observed::{Observed, Probe};

use crate::status::{Condition, StageStatus, now_ms};

/// Restarts after which a unit that is not up counts as crash looping.
const CRASHES: u32 = 3;

/// All conditions of one look. One that was there before keeps its time.
pub fn of(
    observed: &Observed,
    ledger: &[String],
    stages: &[StageStatus],
    previous: Vec<Condition>,
) -> Vec<Condition> {
    let mut found = Vec::new();
    for (unit, probe) in &observed.units {
        match probe {
            Probe::Seen(seen) if seen.restarts >= CRASHES && seen.active_state != "active" => {
                found.push(condition(
                    "UnitCrashLoop",
                    unit,
                    format!("{} restarts, last result {}", seen.restarts, seen.result),
                    format!("machinectl logs {unit}"),
                ));
            }
            Probe::Unreadable(why) => found.push(condition(
                "SystemdUnreachable",
                unit,
                why.clone(),
                "wait: systemd or its bus is restarting; if it stays, machinectl reboot",
            )),
            _ => {}
        }
    }
    for why in ledger {
        found.push(condition(
            "LedgerUnreadable",
            "ledger",
            why.clone(),
            "the last good generation is in force; apply the config again",
        ));
    }
    for stage in stages.iter().filter(|s| s.verdict == "failed") {
        let (name, step) = kind_of(&stage.message);
        found.push(condition(name, stage.name, stage.message.clone(), step));
    }
    for condition in &mut found {
        let same = |c: &&Condition| c.name == condition.name && c.object == condition.object;
        if let Some(old) = previous.iter().find(same) {
            condition.since_ms = old.since_ms;
        }
    }
    found
}

fn kind_of(message: &str) -> (&'static str, &'static str) {
    if message.contains("No space left") {
        (
            "DiskFull",
            "free space: remove unused images or enlarge the disk",
        )
    } else if message.contains("Read-only file system") {
        (
            "DiskReadOnly",
            "the state partition is damaged: see machinectl dmesg",
        )
    } else {
        ("StageFailed", "it is tried again; see machinectl events")
    }
}

fn condition(
    name: &'static str,
    object: &str,
    message: String,
    next_step: impl Into<String>,
) -> Condition {
    let next_step = next_step.into();
    Condition {
        name,
        object: object.to_owned(),
        message,
        next_step,
        since_ms: now_ms(),
    }
}
