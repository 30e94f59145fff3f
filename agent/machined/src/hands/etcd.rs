//! What is asked about etcd before something is done to it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use machine_plan::membership::{Member, absence_refused};
use machine_plan::observed::Probe;
use machine_plan::recovery::Survey;
use machine_plan::turn::{Purpose, Stand, Turn, stand};

use super::Hands;
use crate::node::etcd::cluster::{self, Cluster};
use crate::node::kube::{Access, Kube};
use crate::node::{self, endpoint, facts, files};
use crate::status::now_ms;

/// How long the cluster's API is asked who else is there.
const OTHERS: Duration = Duration::from_secs(5);

/// How often a turn is asked for again that changed between the question and the answer.
const TRIES: usize = 3;

impl Hands {
    /// Where this machine's member of etcd is, if it should have one: its address and peer URL.
    pub(super) fn own_member(&self) -> Option<(IpAddr, String)> {
        let entry = self.ledger.current()?;
        let config = &entry.bundle.config;
        let own = facts::look(config).node_ip;
        let here = config.role().is_control_plane() && config.external_etcd().is_none();
        here.then(|| (own, machine_plan::render::etcd_peer_url(own)))
    }

    /// Where members may be asked: here, where this machine remembers some, and where its last look
    /// saw some.
    pub(super) fn voters(&self) -> Result<BTreeSet<IpAddr>, String> {
        let (own, own_url) = self
            .own_member()
            .ok_or("this machine is to have no member of etcd: ask a control plane that has one")?;
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

    // The same without this machine, and with those that the cluster's API knows.
    async fn others(&self) -> Result<BTreeSet<IpAddr>, String> {
        let mut at = self.voters()?;
        if let Some(entry) = self.ledger.current() {
            let config = &entry.bundle.config;
            let (kube, access) = (Kube::default(), Access::elsewhere(config));
            let known = kube.control_planes(&access, config.hostname().as_str());
            if let Ok(Probe::Seen(known)) = tokio::time::timeout(OTHERS, known).await {
                at.extend(known);
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

    pub(super) async fn listed_elsewhere(&self) -> Result<Vec<Member>, String> {
        self.listed(self.others().await?).await
    }

    /// Takes this machine's turn, or says why it may not be away.
    pub(super) async fn may_be_away(&self, purpose: Purpose) -> Result<(), String> {
        let Some((own, own_url)) = self.own_member() else {
            return Ok(());
        };
        let (cluster, at) = (Cluster::default(), BTreeSet::from([own]));
        let ordered = now_ms();
        for _ in 0..TRIES {
            // A member that does not answer is missed already; so is one that there is not.
            let asked = cluster.ask(&at).await;
            let Probe::Seen(members) = asked.members else {
                return Ok(());
            };
            let here = members.iter().find(|m| m.peer_urls.contains(&own_url));
            let Some(here) = here else {
                return Ok(());
            };
            if let Some(why) = absence_refused(&members, here.id) {
                return Err(why);
            }
            let over = match stand(&members, here.id, &asked.turn) {
                Stand::NotNeeded => return Ok(()),
                Stand::Ours(seen) => Some(seen),
                Stand::Free(left) => left,
                Stand::Held(turn) => {
                    let (held, next) = (turn.held(), turn.next_step());
                    return Err(format!("{held}. {next}; --force does not wait for it"));
                }
                Stand::Unknown(why) => {
                    return Err(format!(
                        "cannot tell whose turn it is: {why}; --force does not ask"
                    ));
                }
            };
            let turn = Turn {
                version: Turn::VERSION,
                holder: here.shown().to_owned(),
                member: here.id,
                purpose,
                boot: crate::boot::boot_id(),
                since: ordered / 1000,
                order: Some(format!("{}-{ordered}", purpose.word())),
            };
            match cluster.try_turn(&at, &turn, over).await {
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
            Some(secrets) if etcd.members.is_empty() => {
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
            founding: self.ledger.founding(),
        })
    }
}
