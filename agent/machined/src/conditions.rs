//! What is wrong, by words that people and programs match on.
//!
//! The words are a promise: docs/operations/conditions.md lists them all, with
//! what each means and what to do, and a test compares the two.

mod crashes;
mod look;
mod quote;
#[cfg(test)]
mod tests;
mod watch;

use crashes::{Crashes, Seen};
pub use look::short_of;
use look::{ETCD_SILENCE, Look, Looping, of};
use quote::quoted;
pub use watch::Watch;

use crate::journal::clipped;

/// The longest text of a condition on the console, in characters.
const CONSOLE: usize = 300;

/// Everything that can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A file system has no room left, or hardly any.
    DiskFull,
    /// A file system refuses writes: the kernel found it damaged.
    DiskReadOnly,
    /// Files of the ledger are there and cannot be used.
    StateUnreadable,
    /// The ledger cannot be written, for another reason than room.
    StateUnwritable,
    /// The clock cannot be right.
    ClockWrong,
    /// A unit ends again and again.
    UnitCrashLoop,
    /// A static pod's container ends again and again.
    PodCrashLoop,
    /// The machine API cannot listen.
    PortInUse,
    /// systemd cannot be asked.
    BusAway,
    /// etcd should serve here and does not.
    EtcdDown,
    /// The document in force has no secrets.
    SecretsMissing,
    /// Calls cannot be written down.
    AuditUnwritable,
    /// The firewall's rules could not be loaded.
    FirewallNotLoaded,
    /// An action failed; it is tried again.
    StageFailed,
}

impl Kind {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 14] = [
        Self::DiskFull,
        Self::DiskReadOnly,
        Self::StateUnreadable,
        Self::StateUnwritable,
        Self::ClockWrong,
        Self::UnitCrashLoop,
        Self::PodCrashLoop,
        Self::PortInUse,
        Self::BusAway,
        Self::EtcdDown,
        Self::SecretsMissing,
        Self::AuditUnwritable,
        Self::FirewallNotLoaded,
        Self::StageFailed,
    ];

    /// The word. Never changed once released.
    pub const fn word(self) -> &'static str {
        match self {
            Self::DiskFull => "disk-full",
            Self::DiskReadOnly => "disk-read-only",
            Self::StateUnreadable => "state-unreadable",
            Self::StateUnwritable => "state-unwritable",
            Self::ClockWrong => "clock-wrong",
            Self::UnitCrashLoop => "unit-crash-loop",
            Self::PodCrashLoop => "pod-crash-loop",
            Self::PortInUse => "port-in-use",
            Self::BusAway => "bus-away",
            Self::EtcdDown => "etcd-down",
            Self::SecretsMissing => "secrets-missing",
            Self::AuditUnwritable => "audit-unwritable",
            Self::FirewallNotLoaded => "firewall-not-loaded",
            Self::StageFailed => "stage-failed",
        }
    }

    /// What to do, where the object does not make it plainer.
    const fn next_step(self) -> &'static str {
        match self {
            Self::DiskFull => "free space: remove images and logs, or enlarge the disk",
            Self::DiskReadOnly => "the disk is damaged: see machinectl dmesg, then replace it",
            Self::StateUnreadable => "apply the config again; the damaged files are kept",
            Self::StateUnwritable => "see machinectl dmesg: the state partition's disk may be bad",
            Self::ClockWrong => {
                "set the hardware clock, or name time servers in machine.network.timeServers"
            }
            Self::UnitCrashLoop => "see machinectl logs UNIT; a config change restarts it",
            Self::PodCrashLoop => "see machinectl logs kubelet; a config change restarts it",
            Self::PortInUse => "stop what listens there; it is tried again by itself",
            Self::BusAway => "wait: it is tried again by itself; if it stays, reboot",
            Self::EtcdDown => "see machinectl logs kubelet; its data is on /var/lib/etcd",
            Self::SecretsMissing => "apply the config with its secrets",
            Self::AuditUnwritable => "calls that change something fail until it is gone",
            Self::FirewallNotLoaded => {
                "the rules before it hold; see machinectl logs machined-firewall.service"
            }
            Self::StageFailed => "it is tried again; see machinectl events",
        }
    }
}

/// Who found it. Each source says all that it finds at once; what it no longer
/// says is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The daemon, before there is a loop.
    Boot,
    /// The machine API's socket.
    Listener,
    /// The machine API's look at a client's certificate.
    Client,
    /// The audit log.
    Audit,
    /// The loop's last look.
    Look,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its word.
    pub kind: Kind,
    /// Which unit, file system, …
    pub object: String,
    /// What is seen.
    pub message: String,
    /// What to do.
    pub next_step: String,
    /// For a crash loop: the last lines it logged, oldest first.
    pub log: Vec<String>,
    /// Milliseconds since the epoch; set when it is put up.
    pub since_ms: i64,
}

impl Condition {
    /// With the kind's usual next step.
    pub fn new(kind: Kind, object: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            object: object.into(),
            message: message.into(),
            next_step: kind.next_step().to_owned(),
            log: Vec::new(),
            since_ms: 0,
        }
    }

    /// With a better next step.
    pub fn next(self, step: impl Into<String>) -> Self {
        let next_step = step.into();
        Self { next_step, ..self }
    }

    /// Whether it is the same thing that is wrong, however it reads now.
    pub fn same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.object == other.object
    }

    /// What the console says when it appears.
    pub fn appears(&self) -> String {
        let mut text = format!(
            "machined: {} {}: {}\nmachined:   next: {}",
            self.kind.word(),
            self.object,
            clipped(&self.message, CONSOLE),
            self.next_step
        );
        for line in &self.log {
            text.push_str(&format!("\nmachined:   | {line}"));
        }
        text
    }

    /// What the console says when it goes.
    pub fn goes(&self) -> String {
        format!("machined: {} {} is over", self.kind.word(), self.object)
    }
}
