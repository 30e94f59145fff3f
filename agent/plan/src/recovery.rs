//! Whether a cluster may be made again of old data, and what that would mean.

use crate::etcd_health::EtcdSeen;
use crate::membership::{MemberId, quorum, voters};
use crate::observed::Probe;
use crate::order::Source;

/// What is known before anything is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// This machine's name.
    pub name: String,
    /// Where this machine's member is, or would be.
    pub peer_url: String,
    /// Its member's id, if one is remembered.
    pub own: Option<MemberId>,
    /// etcd, as far as it answers.
    pub etcd: EtcdSeen,
    /// Whether etcd has data here.
    pub data: Probe<()>,
    /// Whether an API server of this cluster answers where this machine knows of no member.
    pub endpoint_answers: bool,
    /// API servers run on other machines, which go on meanwhile.
    pub api_elsewhere: bool,
    /// A bootstrap that is going on.
    pub founding: bool,
}

impl Survey {
    fn is_own(&self, seen: &crate::etcd_health::MemberSeen) -> bool {
        Some(seen.member.id) == self.own || seen.member.peer_urls.contains(&self.peer_url)
    }

    fn others(&self) -> impl Iterator<Item = &crate::etcd_health::MemberSeen> {
        self.etcd.members.iter().filter(|m| !self.is_own(m))
    }

    /// Why nothing may be done, whatever is said; none where it may.
    pub fn forbidden(&self, from: &Source) -> Option<String> {
        if self.founding {
            return Some("this machine is making a cluster by order: wait for that".to_owned());
        }
        match (from, &self.data) {
            (Source::Data, Probe::Absent) => {
                Some("etcd has no data on this machine: recover from a snapshot".to_owned())
            }
            (Source::Data, Probe::Unreadable(why)) => {
                Some(format!("cannot tell whether etcd has data here: {why}"))
            }
            _ => None,
        }
    }

    /// Why it should not be done: a cluster that lives, or may live again. None where it should.
    pub fn refused(&self) -> Option<String> {
        let (all, answer) = voters(&self.etcd.listed());
        if self.etcd.read == Probe::Seen(()) {
            return Some(format!(
                "etcd has its quorum: of {all} voters {answer} answer, and {} are needed. Members that \
                 are gone are taken out (machinectl etcd remove NAME), machines that lost their disk \
                 join by themselves",
                quorum(all)
            ));
        }
        let alive: Vec<_> = self
            .others()
            .filter(|m| m.told.seen().is_some())
            .map(|m| m.member.shown())
            .collect();
        if !alive.is_empty() {
            return Some(format!(
                "{} still answers: of {all} voters {answer} answer, and with {} etcd serves again by \
                 itself. Bring the others up, or shut every other member down first",
                alive.join(", "),
                quorum(all)
            ));
        }
        self.endpoint_answers.then(|| {
            "an API server answers at the cluster's endpoint: a cluster is there, and this machine \
             would make a second one"
                .to_owned()
        })
    }

    /// What it means, line by line.
    pub fn explained(&self, from: &Source) -> Vec<String> {
        let mut lines = Vec::new();
        for seen in &self.etcd.members {
            let whose = if self.is_own(seen) {
                " (this machine)"
            } else {
                ""
            };
            let state = match &seen.told {
                Probe::Seen(told) => format!(
                    "answers: term {}, index {}, {} bytes",
                    told.raft_term, told.raft_index, told.db_bytes
                ),
                Probe::Unreadable(why) => format!("does not answer: {why}"),
                Probe::Absent => "is of another cluster".to_owned(),
            };
            lines.push(format!("member {}{whose} {state}", seen.member.shown()));
        }
        let furthest = self.etcd.members.iter().filter_map(|m| {
            let told = m.told.seen()?;
            Some(((told.raft_term, told.raft_index), m.member.shown()))
        });
        if let Some((_, name)) = furthest.max_by_key(|(far, _)| *far) {
            lines.push(format!("of those that answer {name} has come furthest"));
        }
        let what = match from {
            Source::Snapshot { .. } => "the snapshot: what was written after it is lost",
            Source::Data => {
                "this machine's own data: what it had not heard of is lost, so take the machine \
                 whose member has come furthest"
            }
        };
        lines.push(format!("the new cluster begins with {what}"));
        lines.push(match self.api_elsewhere {
            true => format!(
                "{} becomes its only member; etcd here stops first, and starts again with it. API servers \
                 go on with what they remember of before: reboot every control plane afterwards, one \
                 after the other",
                self.name
            ),
            false => format!(
                "{} becomes its only member; API server, controllers and etcd here stop first, and start \
                 again with it",
                self.name
            ),
        });
        if self.data != Probe::Absent {
            lines.push(
                "the data that is here is kept beside it as member.before-recover-…; nothing is deleted"
                    .to_owned(),
            );
        }
        let others: Vec<_> = self.others().map(|m| m.member.shown()).collect();
        if !others.is_empty() {
            lines.push(format!(
                "{} must not come back as before: together they would be a second cluster whose API \
                 servers serve the old data. Where one comes back: machinectl etcd leave --discard -n \
                 NODE, and it joins anew",
                others.join(", ")
            ));
        }
        lines
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
