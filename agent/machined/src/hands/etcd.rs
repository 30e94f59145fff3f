//! What is asked about etcd before something is done to it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use machine_config::{EtcdRunAs, MachineConfig};
use machine_plan::desired::ETCD;
use machine_plan::membership::{Member, MemberId, absence_refused};
use machine_plan::observed::Probe;
use machine_plan::recovery::Survey;
use machine_plan::turn::{self, Purpose, Stand, Turn, TurnSeen, stand};

use super::Hands;
use crate::node::etcd::cluster::{self, Asked, Cluster};
use crate::node::etcd::member::HOME;
use crate::node::kube::{Access, Kube};
use crate::node::{self, endpoint, facts, files};
use crate::status::now_ms;

/// How long the cluster's API is asked who else is there.
const OTHERS: Duration = Duration::from_secs(5);

/// How long a machine may take to make its certificates, and how often that is looked at.
const CERTIFICATES: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(250);

/// How often a turn is asked for again that changed between the question and the answer.
const TRIES: usize = 3;

impl Hands {
    /// Where this machine's member of etcd is, if it should have one: its address and peer URL.
    pub(super) fn own_member(&self) -> Option<(IpAddr, String)> {
        let entry = self.ledger.current()?;
        let config = &entry.bundle.config;
        let own = facts::look(config).node_ip;
        config
            .has_etcd_member()
            .then(|| (own, machine_plan::render::etcd_peer_url(own)))
    }

    /// Whether this machine's member is a unit, and the others can do without it for a moment. It takes
    /// no turn for that, but none is another's.
    pub(super) async fn may_restart_etcd(&self) -> Result<(), String> {
        let entry = self.ledger.current();
        let unit = entry.is_some_and(|entry| {
            let config = &entry.bundle.config;
            config.has_etcd_member() && config.etcd_run_as() == EtcdRunAs::Unit
        });
        match unit {
            true => match self.own_word().await {
                Some((own, members, turn)) => may_be_missed(own, &members, &turn)
                    .map(drop)
                    .map_err(|why| format!("cannot restart {ETCD}: {why}")),
                None => Ok(()),
            },
            false => Err(format!(
                "cannot restart {ETCD}: no member of etcd is a unit here"
            )),
        }
    }

    /// Where members may be asked: here, where this machine remembers some, and where its last look
    /// saw some.
    pub(super) fn voters(&self) -> Result<BTreeSet<IpAddr>, String> {
        let (own, own_url) = self
            .own_member()
            .ok_or("this machine is to have no member of etcd: ask one that has")?;
        let mut at = BTreeSet::from([own]);
        if let Ok(Some(joined)) = self.ledger.membership() {
            at.extend(cluster::remembered(&joined, &own_url));
        }
        if let Some(last) = self.board.intermediates()
            && let Probe::Seen(members) = &last.observed.members
        {
            at.extend(members.iter().filter_map(cluster::address));
        }
        Ok(at)
    }

    // The same without this machine, and with those that the config or the cluster's API knows.
    async fn others(&self) -> Result<BTreeSet<IpAddr>, String> {
        let mut at = self.voters()?;
        if let Some(entry) = self.ledger.current() {
            let config = &entry.bundle.config;
            match config.etcd_members() {
                Some(told) => at.extend(told),
                None => {
                    at.extend(config.control_planes());
                    let (kube, access) = (Kube::default(), Access::elsewhere(config));
                    let known = kube.control_planes(&access, config.hostname().as_str());
                    if let Ok(Probe::Seen(known)) = tokio::time::timeout(OTHERS, known).await {
                        at.extend(known);
                    }
                }
            }
        }
        if let Some((own, _)) = self.own_member() {
            at.remove(&own);
        }
        Ok(at)
    }

    pub(super) async fn listed(&self, at: BTreeSet<IpAddr>) -> Result<Vec<Member>, String> {
        match Cluster::default().members(&at).await {
            Probe::Seen(members) => Ok(members),
            Probe::Unreadable(why) => Err(format!("no member of etcd answers: {why}")),
            Probe::Absent => Err("no member of etcd is known".to_owned()),
        }
    }

    pub(super) async fn turn_of_anybody(&self) -> Result<Option<Turn>, String> {
        match Cluster::default().ask(&self.voters()?).await.turn {
            Probe::Seen(seen) => Ok(Some(seen.turn)),
            Probe::Absent => Ok(None),
            Probe::Unreadable(why) => Err(format!("cannot tell whose turn it is: {why}")),
        }
    }

    pub(super) async fn listed_elsewhere(&self) -> Result<Vec<Member>, String> {
        self.listed(self.others().await?).await
    }

    /// Of a machine of role `etcd`, which has no API server to ask: none of the members that it is told of
    /// answers, with or without a quorum.
    pub(super) async fn no_member_has_begun(&self) -> Result<(), String> {
        // Without them nobody can be asked, and nobody's silence would be heard.
        let made = async {
            while !Cluster::default().may_ask() {
                tokio::time::sleep(AGAIN).await;
            }
        };
        let made = tokio::time::timeout(CERTIFICATES, made).await;
        made.map_err(|_| {
            format!(
                "this machine has no certificates to ask other members with, after {} s: see machinectl \
                 status",
                CERTIFICATES.as_secs()
            )
        })?;
        let seen = Cluster::default().look(&self.others().await?).await;
        none_begun(seen.members.first().map(|first| first.member.shown()))
    }

    /// The same of a control plane, of those that its config names. What is there answers soon; whoever is not
    /// there, and who may not ask yet, keeps nobody from beginning.
    pub(super) async fn nobody_named_has_begun(
        &self,
        config: &MachineConfig,
    ) -> Result<(), String> {
        let own = self.own_member().map(|(own, _)| own);
        let named = config.control_planes().iter().copied();
        let named: BTreeSet<_> = named.filter(|ip| Some(*ip) != own).collect();
        let cluster = Cluster::default();
        if named.is_empty() || !cluster.may_ask() {
            return Ok(());
        }
        match tokio::time::timeout(OTHERS, cluster.look(&named)).await {
            Ok(seen) => none_begun(seen.members.first().map(|first| first.member.shown())),
            Err(_) => Ok(()),
        }
    }

    // Which member this machine's is, and what that says, wherever it listens by now. One that does not
    // answer is missed already; so is one that there is not.
    async fn own_word(&self) -> Option<(MemberId, Vec<Member>, Probe<TurnSeen>)> {
        let (_, own_url) = self.own_member()?;
        let Asked { members, turn, .. } = Cluster::default().ask(&self.home()).await;
        let Probe::Seen(members) = members else {
            return None;
        };
        let joined = self.ledger.membership().ok().flatten();
        let here = |m: &&Member| match &joined {
            Some(joined) => m.id == joined.id,
            None => m.peer_urls.contains(&own_url),
        };
        let own = members.iter().find(here)?.id;
        Some((own, members, turn))
    }

    fn home(&self) -> BTreeSet<IpAddr> {
        let own = self.own_member().map(|(own, _)| own);
        own.into_iter().chain(HOME).collect()
    }

    /// Takes this machine's turn, or says why it may not be away.
    pub(super) async fn may_be_away(&self, purpose: Purpose) -> Result<(), String> {
        let ordered = now_ms();
        for _ in 0..TRIES {
            let Some((own, members, turn)) = self.own_word().await else {
                return Ok(());
            };
            let over = match may_be_missed(own, &members, &turn)? {
                Stand::Ours(seen) => Some(seen),
                Stand::Free(left) => left,
                _ => return Ok(()),
            };
            let here = members.iter().find(|m| m.id == own);
            let wanted = Turn {
                version: Turn::VERSION,
                holder: here.map_or("", Member::shown).to_owned(),
                member: own,
                purpose: turn::purpose(purpose, own, over),
                boot: crate::boot::boot_id(),
                since: ordered / 1000,
                order: Some(format!("{}-{ordered}", purpose.word())),
            };
            match Cluster::default()
                .try_turn(&self.home(), &wanted, over)
                .await
            {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    let why = crate::api::chain(&error);
                    return Err(format!("{why}; --force goes without it"));
                }
            }
        }
        Err("cannot take the turn: other machines take it again and again".to_owned())
    }

    pub(super) async fn looked_over(&self) -> Result<Survey, String> {
        let mut at = self.voters()?;
        at.extend(self.others().await?);
        let (_, peer_url) = self.own_member().ok_or("this machine has no config")?;
        let entry = self.ledger.current().ok_or("this machine has no config")?;
        let config = &entry.bundle.config;
        let etcd = Cluster::default().look(&at).await;
        // Where nobody is known, somebody may be there all the same; this machine's own API server is
        // nobody.
        let endpoint_answers = match &entry.bundle.secrets {
            Some(secrets) if etcd.members.is_empty() && config.role().has_node() => {
                let own = Kube::default().ready(&node::access(&entry)).await;
                own == Probe::Absent && endpoint::answers(config, secrets).await
            }
            _ => false,
        };
        let joined = self.ledger.membership().ok().flatten();
        Ok(Survey {
            name: config.hostname().to_string(),
            peer_url,
            own: joined.map(|joined| joined.id),
            etcd,
            data: files::has_etcd_member(),
            endpoint_answers,
            api_elsewhere: !config.role().has_node(),
            founding: self.ledger.founding(),
        })
    }
}

/// Where this machine stands, unless the others could not do without it or it is another's turn.
fn may_be_missed<'a>(
    own: MemberId,
    members: &[Member],
    turn: &'a Probe<TurnSeen>,
) -> Result<Stand<'a>, String> {
    if let Some(why) = absence_refused(members, own) {
        return Err(why);
    }
    match stand(members, own, turn) {
        Stand::Held(turn) => Err(format!(
            "{}. {}; --force does not wait for it",
            turn.held(),
            turn.next_step()
        )),
        Stand::Unknown(why) => Err(format!(
            "cannot tell whose turn it is: {why}; --force does not ask"
        )),
        stand => Ok(stand),
    }
}

fn none_begun(member: Option<&str>) -> Result<(), String> {
    member.map_or(Ok(()), |member| {
        Err(format!(
            "this cluster's etcd has begun already: {member} is a member of it, and a bootstrap here would \
             make a second one"
        ))
    })
}
