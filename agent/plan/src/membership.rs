//! etcd's members, and what this machine remembers of having become one.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::observed::Probe;

/// A member's id. Written as etcd's own tools write it: hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for MemberId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for MemberId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemberId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A member as the cluster lists it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Member {
    /// Given by the cluster, never twice.
    pub id: MemberId,
    /// Empty until it has started once.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// It follows without a vote.
    pub learner: bool,
    /// It leads, by its own account or another member's.
    pub leader: bool,
    /// Its own answer: how far it has applied the log. `Absent` is that another member answers at its
    /// address.
    pub applied: Probe<u64>,
}

impl Member {
    /// Its name, or where it is expected while it has none.
    pub fn shown(&self) -> &str {
        match self.peer_urls.first() {
            Some(url) if self.name.is_empty() => url,
            _ => &self.name,
        }
    }

    /// The address of its machine, where that is no name.
    pub fn address(&self) -> Option<IpAddr> {
        self.peer_urls.iter().find_map(|url| address_of(url))
    }

    /// Whether it answers.
    pub const fn answers(&self) -> bool {
        matches!(self.applied, Probe::Seen(_))
    }
}

/// The address in a peer URL, where that is no name.
pub fn address_of(peer_url: &str) -> Option<IpAddr> {
    let at: SocketAddr = peer_url.strip_prefix("https://")?.parse().ok()?;
    Some(at.ip())
}

/// What a member keeps of its cluster. Durable before its etcd is started: how etcd is
/// told to begin must be the same until it has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Format of this record: 1.
    pub version: u32,
    /// As what the cluster knows this machine.
    pub id: MemberId,
    /// Name and peer URL of every member when this one was added, itself among them.
    pub initial_cluster: Vec<(String, String)>,
    /// Whether it was seen with a vote.
    pub voter: bool,
    /// Until then: in which boot it was added. Only in that one is it known that etcd begins for the
    /// first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

impl Membership {
    /// The format's version.
    pub const VERSION: u32 = 1;

    /// Of a member in this list: one that was just added, or the first.
    pub fn of(members: &[Member], id: MemberId, name: &str, voter: bool) -> Self {
        let named = members.iter().flat_map(|member| {
            let name = match member.name.as_str() {
                _ if member.id == id => name.to_owned(),
                // etcd tells members apart by their addresses here, but wants a name.
                "" => member.id.to_string(),
                known => known.to_owned(),
            };
            let urls = member.peer_urls.iter();
            urls.map(move |url| (name.clone(), url.clone()))
        });
        Self {
            version: Self::VERSION,
            id,
            initial_cluster: named.collect(),
            voter,
            boot: None,
        }
    }

    /// The same, of one that was added in this boot.
    #[must_use]
    pub fn added_in(self, boot: &str) -> Self {
        Self {
            boot: Some(boot.to_owned()),
            ..self
        }
    }

    /// Whether the cluster still has the members that etcd would be told of: it
    /// does not begin with others.
    pub fn fits(&self, members: &[Member]) -> bool {
        let told: BTreeSet<&String> = self.initial_cluster.iter().map(|(_, url)| url).collect();
        let are: BTreeSet<&String> = members.iter().flat_map(|m| &m.peer_urls).collect();
        told == are
    }
}

/// How many of so many voters have to agree.
pub const fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Voters in all, and those that answer.
pub fn voters(members: &[Member]) -> (usize, usize) {
    let voters = || members.iter().filter(|member| !member.learner);
    (voters().count(), voters().filter(|m| m.answers()).count())
}

/// Why the cluster would not outlive this member's removal; none where it would. The rule of etcd's
/// strict reconfiguration check and of Cluster API's control plane, asked before etcd is.
pub fn removal_refused(members: &[Member], id: MemberId) -> Option<String> {
    let gone = members.iter().find(|member| member.id == id)?;
    let (now, answering) = voters(members);
    if answering < quorum(now) {
        return Some(format!(
            "of {now} voters {answering} answer, and without {} nothing can be changed",
            quorum(now)
        ));
    }
    if gone.learner {
        return None;
    }
    let rest: Vec<Member> = members.iter().filter(|m| m.id != id).cloned().collect();
    let (count, answer) = voters(&rest);
    if count == 0 {
        return Some(format!("{} is the only voter", gone.shown()));
    }
    let need = quorum(count);
    (answer < need).then(|| {
        format!(
            "without {} there are {count} voters of which {answer} answer, and {need} are needed",
            gone.shown()
        )
    })
}

/// Why etcd would not go on while this member is away; none where it would, or where the member has
/// no vote or is the only one: then nobody else depends on it.
pub fn absence_refused(members: &[Member], id: MemberId) -> Option<String> {
    let away = members.iter().find(|member| member.id == id)?;
    let (count, answer) = voters(members);
    if away.learner || count == 1 {
        return None;
    }
    let left = answer - usize::from(away.answers());
    let need = quorum(count);
    (left < need).then(|| {
        format!(
            "without {} only {left} of etcd's {count} voters would answer, and {need} are needed",
            away.shown()
        )
    })
}

/// Why this member's data must not be discarded; none where it may. Until the machine has joined again the
/// member is a voter that is silent. A learner that answers may have its vote at the next moment.
pub fn discard_refused(members: &[Member], id: MemberId) -> Option<String> {
    let promoted = |member: &Member| Member {
        learner: member.learner && !(member.id == id && member.answers()),
        ..member.clone()
    };
    let members: Vec<_> = members.iter().map(promoted).collect();
    removal_refused(&members, id).or_else(|| absence_refused(&members, id))
}

/// Why a member must not be restarted with other arguments; none where it may. As for its absence, but of
/// two voters each is the quorum at all times: who waited for another would wait for ever. While both
/// answer, the cluster goes without for as long as the restart takes, like a single one's.
pub fn restart_refused(members: &[Member], id: MemberId) -> Option<String> {
    match voters(members) {
        (2, 2) => None,
        _ => absence_refused(members, id),
    }
}

/// Why the cluster should get no further voter now; none where it may. Until the new one is there it
/// is one more that is silent: those that answer must be a quorum of all, or one of one.
pub fn addition_refused(members: &[Member]) -> Option<String> {
    let (count, answer) = voters(members);
    let need = quorum(count + 1);
    (answer < need && (count, answer) != (1, 1)).then(|| {
        format!("only {answer} of {count} voters answer, and with one more {need} are needed")
    })
}

/// Whether a learner has caught up so far that etcd gives it a vote: nine tenths of the way.
pub fn in_sync(members: &[Member], id: MemberId) -> bool {
    let applied = |m: &Member| m.applied.seen().copied();
    let own = members.iter().find(|m| m.id == id).and_then(applied);
    // Where no voter tells how far it is, a learner is not as far as itself.
    let voters = members.iter().filter(|m| !m.learner);
    let most = voters.filter_map(applied).max();
    matches!((own, most), (Some(own), Some(most))
        if u128::from(own) * 10 >= u128::from(most) * 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(all: &[(u64, bool, bool)]) -> Vec<Member> {
        let member = |(id, learner, answers): &(u64, bool, bool)| Member {
            id: MemberId(*id),
            name: format!("cp{id}"),
            peer_urls: Vec::new(),
            learner: *learner,
            leader: false,
            applied: match answers {
                true => Probe::Seen(9),
                false => Probe::Absent,
            },
        };
        all.iter().map(member).collect()
    }

    #[test]
    fn data_is_discarded_only_where_the_others_are_a_quorum_of_all() {
        let voters = |answer: &[bool]| {
            let each = (1..).zip(answer).map(|(id, answers)| (id, false, *answers));
            members(&each.collect::<Vec<_>>())
        };
        let refused = |members: &[Member], id| discard_refused(members, MemberId(id));
        // Out of two one may leave, but not be silent.
        assert_eq!(removal_refused(&voters(&[true, true]), MemberId(1)), None);
        let why = refused(&voters(&[true, true]), 1).unwrap();
        assert!(
            why.contains("only 1 of etcd's 2 voters would answer"),
            "{why}"
        );
        assert!(refused(&voters(&[true]), 1).is_some());
        assert_eq!(refused(&voters(&[true, true, true]), 1), None);
        // It is the one that is silent, or not the only one.
        assert_eq!(refused(&voters(&[false, true, true]), 1), None);
        assert!(refused(&voters(&[true, false, true]), 1).is_some());
        // A learner that answers gets its vote; one that does not, does not.
        assert!(refused(&members(&[(1, true, true), (2, false, true)]), 1).is_some());
        assert_eq!(
            refused(&members(&[(1, true, false), (2, false, true)]), 1),
            None
        );
        assert_eq!(refused(&members(&[(2, false, true)]), 1), None);
    }
}
