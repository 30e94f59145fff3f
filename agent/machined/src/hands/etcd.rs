//! What is asked about etcd before something is done to it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use machine_config::EtcdRunAs;
use machine_plan::desired::ETCD;
use machine_plan::membership::Member;
use machine_plan::observed::Probe;
use machine_plan::recovery::Survey;

use super::Hands;
use crate::api;
use crate::node::etcd::cluster::{self, Cluster};
use crate::node::kube::{Access, Kube};
use crate::node::{self, endpoint, facts, files};

/// How long the cluster's API is asked who else is there.
const OTHERS: Duration = Duration::from_secs(5);

impl Hands {
    /// Where this machine's member of etcd is, if it should have one: its address and peer URL.
    pub(super) fn own_member(&self) -> Option<(IpAddr, String)> {
        let entry = self.ledger.current()?;
        let config = &entry.bundle.config;
        let own = facts::look(config).node_ip;
        let here = config.role().is_control_plane() && config.external_etcd().is_none();
        here.then(|| (own, machine_plan::render::etcd_peer_url(own)))
    }

    /// Whether this machine's member is a unit, and the others can do without it for a moment.
    pub(super) async fn may_restart_etcd(&self) -> Result<(), String> {
        let entry = self.ledger.current();
        let unit = entry.is_some_and(|entry| {
            let config = &entry.bundle.config;
            config.role().is_control_plane() && config.etcd_run_as() == EtcdRunAs::Unit
        });
        match unit {
            true => api::Hands::may_go_down(self)
                .await
                .map_err(|why| format!("cannot restart {ETCD}: {why}")),
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
