//! What is wrong with etcd, all of it, and what to do about each.

use serde::Serialize;

use crate::membership::{Member, MemberId, quorum, voters};
use crate::observed::Probe;
use crate::turn::TurnSeen;

/// What a member says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// etcd's version.
    pub version: String,
    /// Its file's size.
    pub db_bytes: u64,
    /// As much of it as holds data.
    pub db_bytes_in_use: u64,
    /// What the file may grow to; 0 where it does not say.
    pub quota_bytes: u64,
    /// The election that it knows of.
    pub raft_term: u64,
    /// The end of its log.
    pub raft_index: u64,
    /// Whether it knows a leader.
    pub has_leader: bool,
    /// What it finds wrong itself.
    pub errors: Vec<String>,
}

/// A member and what it says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemberSeen {
    /// As listed.
    pub member: Member,
    /// Its own words.
    pub told: Probe<Told>,
    /// Raised by it or about it: "NOSPACE", "CORRUPT".
    pub alarms: Vec<String>,
}

/// etcd as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EtcdSeen {
    /// Every member that anybody lists.
    pub members: Vec<MemberSeen>,
    /// Whether something could be read by the quorum's word.
    pub read: Probe<()>,
    /// Whose turn it is to be away.
    pub turn: Probe<TurnSeen>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub cause: String,
    /// The next safe step.
    pub next: String,
}

/// Fragmentation, in hundredths, from which a defragmentation is worth its pause.
pub const FRAGMENTED: u64 = 40;

impl Told {
    /// How much of the file holds nothing, in hundredths.
    pub fn fragmentation(&self) -> u64 {
        let idle = self.db_bytes.saturating_sub(self.db_bytes_in_use);
        (idle.saturating_mul(100))
            .checked_div(self.db_bytes)
            .unwrap_or(0)
    }

    /// What the file may grow to: etcd's default where it does not say.
    pub const fn quota(&self) -> u64 {
        match self.quota_bytes {
            0 => 2 << 30,
            quota => quota,
        }
    }
}

impl EtcdSeen {
    /// The members as listed.
    pub fn listed(&self) -> Vec<Member> {
        self.members.iter().map(|m| m.member.clone()).collect()
    }

    /// Everything that is wrong.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |cause: String, next: String| findings.push(Finding { cause, next });
        let (all, answer) = voters(&self.listed());
        if let Probe::Unreadable(why) = &self.read {
            let (cause, next) = match all {
                0 => (
                    format!("no member of etcd answers: {why}"),
                    "bring the control plane machines up; machinectl status says what each waits for"
                        .to_owned(),
                ),
                _ => (
                    format!(
                        "etcd serves nothing: of {all} voters {answer} answer, and {} are needed",
                        quorum(all)
                    ),
                    "bring voters up; if they are gone for good: machinectl etcd recover --dry-run -n NODE"
                        .to_owned(),
                ),
            };
            find(cause, next);
        } else if !self.members.iter().any(|m| m.member.leader) {
            find(
                "no leader is known".to_owned(),
                "ask again in some seconds; then machinectl logs etcd".to_owned(),
            );
        }
        for seen in &self.members {
            let name = seen.member.shown();
            if let Probe::Unreadable(why) = &seen.told {
                find(
                    format!("{name} does not answer: {why}"),
                    format!(
                        "bring its machine up; if it is gone for good: machinectl etcd remove {name}"
                    ),
                );
            }
            if seen.told == Probe::Absent {
                find(
                    format!("at the address of {name} is a member of another cluster"),
                    format!("machinectl status -n {name}"),
                );
            }
            if seen.member.learner {
                find(
                    format!("{name} has no vote yet"),
                    format!("wait: machinectl status --wait -n {name}"),
                );
            }
            for alarm in &seen.alarms {
                find(
                    format!("{name} raises the alarm {alarm}"),
                    remedy(alarm, name),
                );
            }
        }
        findings
    }

    /// What its size is worth, and who of its machines may be away. Nothing is wrong with that.
    pub fn advice(&self) -> Vec<String> {
        let held = self.turn.seen().map(|seen| seen.turn.held());
        self.size().into_iter().chain(held).collect()
    }

    fn size(&self) -> Vec<String> {
        let (all, _) = voters(&self.listed());
        let outlive = all.saturating_sub(quorum(all));
        match all {
            0 => Vec::new(),
            1 => vec!["one voter outlives none that dies: three outlive one".to_owned()],
            2 => vec![
                "two voters outlive none that dies, and either's death stops both: add a third"
                    .to_owned(),
            ],
            even if even % 2 == 0 => vec![format!(
                "{even} voters outlive {outlive}, as {} do: an odd number is better",
                even - 1
            )],
            many if many > 7 => vec![format!(
                "{many} voters make each write slow: seven are enough"
            )],
            _ => Vec::new(),
        }
    }

    /// Why an alarm should not be taken back yet; none where its cause is gone.
    pub fn disarm_refused(&self, id: MemberId, alarm: &str) -> Option<String> {
        let seen = self.members.iter().find(|m| m.member.id == id)?;
        let name = seen.member.shown();
        match (alarm, &seen.told) {
            ("NOSPACE", Probe::Seen(told)) if told.db_bytes >= told.quota() => Some(format!(
                "{name}'s database has {} bytes and may have {}: machinectl etcd defrag first",
                told.db_bytes,
                told.quota()
            )),
            ("NOSPACE", Probe::Seen(_)) => None,
            ("NOSPACE", _) => Some(format!("{name} does not answer")),
            _ => Some(format!(
                "{name} raises {alarm}, and nothing here can tell that its cause is gone"
            )),
        }
    }
}

fn remedy(alarm: &str, name: &str) -> String {
    match alarm {
        "NOSPACE" => "machinectl etcd defrag, then machinectl etcd alarms disarm".to_owned(),
        "CORRUPT" => format!(
            "its data differs: machinectl etcd leave --discard -n {name}, then machinectl etcd alarms \
             disarm --force"
        ),
        _ => "machinectl logs etcd".to_owned(),
    }
}

#[cfg(test)]
#[path = "etcd_health_tests.rs"]
mod tests;
