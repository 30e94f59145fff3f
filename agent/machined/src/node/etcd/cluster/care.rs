//! What etcd's members say of themselves, with or without a quorum, and what keeps them well.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, Client, StatusResponse};
use futures_util::future::join_all;
use machine_plan::etcd_health::{EtcdSeen, MemberSeen, Told};
use machine_plan::membership::{Member, MemberId};
use machine_plan::observed::Probe;

use super::link::{Failed, at_member, limited, said};
use super::{Cluster, Voter, address};

/// A member serves nothing meanwhile: some seconds for each gigabyte.
const DEFRAGMENTATION: Duration = Duration::from_secs(300);

const ALARMS: [(AlarmType, &str); 2] = [
    (AlarmType::Nospace, "NOSPACE"),
    (AlarmType::Corrupt, "CORRUPT"),
];

impl Cluster {
    /// All that can be known, asked at these addresses; also where nobody has a quorum's word.
    pub async fn look(&self, at: &BTreeSet<IpAddr>) -> EtcdSeen {
        let why = match self.voter(at).await {
            Ok(voter) => {
                let alarms = raised(&mut voter.client.clone()).await;
                let turn = voter.turn.clone();
                let mut members = self.seen(voter).await;
                for seen in &mut members {
                    let id = seen.member.id;
                    let own = alarms.iter().filter(|(of, _)| *of == id);
                    seen.alarms = own.map(|(_, alarm)| (*alarm).to_owned()).collect();
                }
                let read = Probe::Seen(());
                return EtcdSeen {
                    members,
                    read,
                    turn,
                };
            }
            Err(why) => why,
        };
        // Each tells whom it remembers.
        let lists = join_all(at.iter().map(|ip| self.remembers(*ip))).await;
        let voter = lists.into_iter().flatten().max_by_key(|v| v.members.len());
        let members = match voter {
            Some(voter) => self.seen(voter).await,
            None => Vec::new(),
        };
        EtcdSeen {
            members,
            turn: Probe::Unreadable(why.clone()),
            read: Probe::Unreadable(why),
        }
    }

    async fn remembers(&self, ip: IpAddr) -> Option<Voter> {
        let mut client = self.connect(ip).await.ok()?;
        let list = limited(client.member_list()).await.ok()?;
        let turn = Probe::Unreadable("without the quorum's word".to_owned());
        Some(Voter::of(ip, &list, turn, client))
    }

    /// Every member that this one lists, each with its own words.
    pub(super) async fn seen(&self, voter: Voter) -> Vec<MemberSeen> {
        let asked = voter.members.iter().map(|m| self.status(m, &voter));
        let answers = join_all(asked).await;
        let leaders: BTreeSet<_> = answers
            .iter()
            .filter_map(Probe::seen)
            .map(|status| MemberId(status.leader()))
            .collect();
        let one = |(member, answer): (&Member, Probe<StatusResponse>)| MemberSeen {
            member: Member {
                leader: leaders.contains(&member.id),
                applied: mapped(&answer, |status| status.raft_applied_index()),
                ..member.clone()
            },
            told: mapped(&answer, told),
            alarms: Vec::new(),
        };
        voter.members.iter().zip(answers).map(one).collect()
    }

    // What it says of itself. The voter that was asked for the list is asked over the same connection,
    // wherever it is listed.
    async fn status(&self, member: &Member, voter: &Voter) -> Probe<StatusResponse> {
        let asked = async {
            let listed = address(member).ok_or("its address is not known");
            let (ip, mut client) = match member.id == voter.id {
                true => (voter.ip, voter.client.clone()),
                false => (listed?, self.connect(listed?).await?),
            };
            let status = limited(client.status()).await;
            let status = status.map_err(|e| at_member(ip, e))?;
            // One of the others, which is listed elsewhere: an address has changed hands.
            let who = answers(&status);
            match voter
                .members
                .iter()
                .find(|m| m.id.0 == who && m.id != member.id)
            {
                Some(other) => Err(format!("{ip}: {} answers there", other.shown())),
                None => Ok(status),
            }
        };
        let status: Result<StatusResponse, Failed> = asked.await;
        match status {
            Ok(status) if answers(&status) == member.id.0 => Probe::Seen(status),
            Ok(_) => Probe::Absent,
            Err(why) => Probe::Unreadable(why),
        }
    }

    /// Has a member give back what its database does not use.
    pub async fn defragment(&self, member: &Member) -> Result<(), String> {
        let ip = address(member).ok_or("its address is not known")?;
        let mut client = self.connect(ip).await?;
        let done = tokio::time::timeout(DEFRAGMENTATION, client.defragment()).await;
        match done {
            Ok(done) => done.map(drop).map_err(|e| at_member(ip, e)),
            Err(_) => Err(format!(
                "{ip}: not done within {} s",
                DEFRAGMENTATION.as_secs()
            )),
        }
    }

    /// Takes one alarm back.
    pub async fn disarm(
        &self,
        at: &BTreeSet<IpAddr>,
        (id, alarm): (MemberId, &str),
    ) -> Result<(), String> {
        let mut client = self.voter(at).await?.client;
        let kind = ALARMS.iter().find(|(_, word)| *word == alarm);
        let (kind, _) = kind.ok_or_else(|| format!("no alarm is called {alarm}"))?;
        let mut options = etcd_client::AlarmOptions::new();
        options.with_member(id.0);
        let done = limited(client.alarm(AlarmAction::Deactivate, *kind, Some(options))).await;
        done.map(drop).map_err(said)
    }
}

/// Who it is that answers.
fn answers(status: &StatusResponse) -> u64 {
    status.header().map_or(0, |header| header.member_id())
}

async fn raised(client: &mut Client) -> Vec<(MemberId, &'static str)> {
    let asked = client.alarm(AlarmAction::Get, AlarmType::None, None);
    let Ok(answer) = limited(asked).await else {
        return Vec::new();
    };
    let word = |of: AlarmType| ALARMS.iter().find(|(kind, _)| *kind == of);
    answer
        .alarms()
        .iter()
        .filter_map(|alarm| Some((MemberId(alarm.member_id()), word(alarm.alarm())?.1)))
        .collect()
}

fn mapped<T>(answer: &Probe<StatusResponse>, part: impl Fn(&StatusResponse) -> T) -> Probe<T> {
    match answer {
        Probe::Seen(status) => Probe::Seen(part(status)),
        Probe::Absent => Probe::Absent,
        Probe::Unreadable(why) => Probe::Unreadable(why.clone()),
    }
}

fn told(status: &StatusResponse) -> Told {
    let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    Told {
        version: status.version().to_owned(),
        db_bytes: size(status.db_size()),
        db_bytes_in_use: size(status.raft_used_db_size()),
        quota_bytes: size(status.db_size_quota()),
        raft_term: status.raft_term(),
        raft_index: status.raft_index(),
        has_leader: status.leader() != 0,
        errors: status.errors().to_vec(),
    }
}
