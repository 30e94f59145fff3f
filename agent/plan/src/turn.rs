//! Whose turn it is to be away: of the machines that serve etcd and the API together, one at a time.

use serde::{Deserialize, Serialize};

use crate::membership::{self, Member, MemberId};
use crate::observed::Probe;
use crate::render::rfc3339;

/// What a machine needs its turn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// It goes down, and comes back.
    Reboot,
    /// It goes down, until somebody turns it on.
    Shutdown,
    /// Its member leaves etcd.
    Leave,
    /// Its member starts again with other arguments.
    RestartEtcd,
    /// Its API server does.
    RestartApiServer,
}

impl Purpose {
    const fn words(self) -> &'static str {
        match self {
            Self::Reboot => "to reboot",
            Self::Shutdown => "to shut down",
            Self::Leave => "to leave etcd",
            Self::RestartEtcd => "to restart etcd",
            Self::RestartApiServer => "to restart its API server",
        }
    }

    /// The word used in ids.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Shutdown => "shutdown",
            Self::Leave => "leave",
            Self::RestartEtcd => "restart-etcd",
            Self::RestartApiServer => "restart-api-server",
        }
    }

    /// Whether it is kubelet that does it, some time after it was told by a manifest.
    pub const fn restarts(self) -> bool {
        matches!(self, Self::RestartEtcd | Self::RestartApiServer)
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.words())
    }
}

/// One machine's turn, as etcd keeps it for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Format of this record: 1.
    pub version: u32,
    /// The machine's name, for people.
    pub holder: String,
    /// Whose it is: who is not listed any more has none.
    pub member: MemberId,
    /// For what.
    pub purpose: Purpose,
    /// The boot in which it was taken.
    pub boot: String,
    /// When, by the holder's clock, in Unix seconds.
    pub since: i64,
    /// By which order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

impl Turn {
    /// The format's version.
    pub const VERSION: u32 = 1;

    /// As it is kept.
    pub fn written(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|e| e.to_string())
    }

    /// Of what is kept.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            version: u32,
        }
        let format: Format = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        match format.version {
            Self::VERSION => serde_json::from_slice(bytes).map_err(|e| e.to_string()),
            other => Err(format!(
                "its version is {other}, this agent knows {}",
                Self::VERSION
            )),
        }
    }

    /// Who has it, for what and since when.
    pub fn held(&self) -> String {
        let since = u64::try_from(self.since).unwrap_or_default();
        let since = std::time::UNIX_EPOCH + std::time::Duration::from_secs(since);
        format!(
            "{} has the turn, {}, since {}: one control plane at a time",
            self.holder,
            self.purpose,
            rfc3339(since)
        )
    }

    /// What whoever waits for it can do.
    pub fn next_step(&self) -> String {
        let name = &self.holder;
        format!(
            "machinectl status -n {name} says what it waits for; if it is gone for good: machinectl etcd \
             remove {name}"
        )
    }
}

/// A turn, and what tells it from any other that was or will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TurnSeen {
    /// What is kept.
    pub turn: Turn,
    /// etcd's revision of it.
    pub revision: i64,
}

/// What another's turn, or none, means for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand<'a> {
    /// Nobody else has to do with it: it has no vote, or the only one.
    NotNeeded,
    /// It has its turn.
    Ours(&'a TurnSeen),
    /// Nobody has one, or only who is no member any more.
    Free(Option<&'a TurnSeen>),
    /// Another machine has it.
    Held(&'a Turn),
    /// It cannot be told.
    Unknown(&'a str),
}

/// Where the machine with this member stands.
pub fn stand<'a>(members: &[Member], own: MemberId, turn: &'a Probe<TurnSeen>) -> Stand<'a> {
    let mut voters = members.iter().filter(|m| !m.learner);
    if voters.clone().count() < 2 || !voters.any(|m| m.id == own) {
        return Stand::NotNeeded;
    }
    match turn {
        Probe::Absent => Stand::Free(None),
        Probe::Seen(seen) if seen.turn.member == own => Stand::Ours(seen),
        Probe::Seen(seen) if members.iter().all(|m| m.id != seen.turn.member) => {
            Stand::Free(Some(seen))
        }
        Probe::Seen(seen) => Stand::Held(&seen.turn),
        Probe::Unreadable(why) => Stand::Unknown(why),
    }
}

/// What a machine's turn is for from now on. Who is about to leave is, whatever else it is told meanwhile.
pub fn purpose(wanted: Purpose, own: MemberId, over: Option<&TurnSeen>) -> Purpose {
    let leaves = |seen: &TurnSeen| seen.turn.member == own && seen.turn.purpose == Purpose::Leave;
    match over.is_some_and(leaves) {
        true => Purpose::Leave,
        false => wanted,
    }
}

/// Why this member must not be removed while another has its turn to leave, and may be gone at the next
/// moment: what is left without both has to be a quorum. None where it may, or where nobody leaves.
pub fn removal_refused(members: &[Member], id: MemberId, turn: Option<&Turn>) -> Option<String> {
    let leaver = turn.filter(|turn| turn.purpose == Purpose::Leave && turn.member != id)?;
    let silent = |member: &Member| match member.id == leaver.member {
        true => Member {
            applied: Probe::Absent,
            ..member.clone()
        },
        false => member.clone(),
    };
    let members: Vec<_> = members.iter().map(silent).collect();
    let why = membership::removal_refused(&members, id)?;
    Some(format!("{}, and {why}", leaver.held()))
}

/// Whether a turn that is taken is the taker's already.
pub fn renews(turn: &Turn, over: Option<&TurnSeen>) -> bool {
    over.is_some_and(|seen| seen.turn.member == turn.member)
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
