//! This machine's member of etcd as the reconciler sees it: who is asked about the cluster, and what is
//! done to it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use machine_config::MachineConfig;
use machine_plan::action::Action;
use machine_plan::desired::Desired;
use machine_plan::membership::Member;
use machine_plan::observed::{Probe, Restored};
use machine_plan::order::{EtcdOrder, EtcdVerb};

use super::cluster::{Asked, Whom, remembered};
use crate::ledger::Entry;
use crate::node::{Node, NodeError, facts, files, note};

/// How long others are asked while this machine's own member does not answer.
const ELSEWHERE: Duration = Duration::from_secs(3);

/// How long those are asked that the config names: what is there answers at once.
const TOLD: Duration = Duration::from_secs(2);

/// Where a member serves this machine, whatever its address is.
pub(crate) const HOME: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// What restores, and where it looks for what to do.
const RESTORE: (&str, &str) = ("machined-etcd-restore.service", "etcd-restore");

impl Node {
    /// Who the members are, and whose turn it is.
    pub(in crate::node) async fn members(
        &self,
        entry: &Entry,
        desired: &Desired,
        own: IpAddr,
        health: &Probe<()>,
    ) -> Asked {
        if desired.etcd.is_none() {
            return Asked::NOBODY;
        }
        let own_url = &desired.etcd_peer_url;
        match self.whom() {
            // It will be no member any more in the middle of it.
            Whom::Own if self.leaving() => {
                let mut at = self.others(entry, own_url, own).await;
                at.insert(own);
                self.etcd.ask(&at).await
            }
            Whom::Own => self.own_members(entry, own_url, own, health).await,
            Whom::Nobody => Asked::NOBODY,
            Whom::Others => match self.others_known(entry, own_url, own).await {
                Some(others) => self.etcd.ask(&others).await,
                None => Asked::silence("no API server has answered at the endpoint yet"),
            },
        }
    }

    async fn own_members(
        &self,
        entry: &Entry,
        own_url: &str,
        own: IpAddr,
        health: &Probe<()>,
    ) -> Asked {
        let asked = match health {
            Probe::Seen(()) => self.etcd.ask(&[own].into()).await,
            // One that is only starting would cost every look its patience.
            _ => Asked::silence("this machine's etcd does not serve"),
        };
        if let Probe::Seen(_) = asked.members {
            return asked;
        }
        let home = async {
            match health {
                Probe::Seen(()) => self.at_home().await,
                _ => None,
            }
        };
        let elsewhere = self.elsewhere(entry, own_url, own);
        match futures_util::join!(home, elsewhere) {
            (Some(home), _) => home,
            (None, elsewhere) => elsewhere.unwrap_or(asked),
        }
    }

    // One whose address has just changed listens at the last one still, and here.
    async fn at_home(&self) -> Option<Asked> {
        let at = HOME.into();
        let asked = tokio::time::timeout(ELSEWHERE, self.etcd.ask(&at)).await;
        let asked = asked.ok()?;
        let astray = asked.members.seen().is_some();
        astray.then_some(Asked { astray, ..asked })
    }

    // What others say by a quorum's word, where this machine's own member cannot: only news if it is not
    // theirs any more, or not where they look for it.
    async fn elsewhere(&self, entry: &Entry, own_url: &str, own: IpAddr) -> Option<Asked> {
        let asked = async {
            let others = self.others(entry, own_url, own).await;
            self.etcd.ask(&others).await
        };
        let asked = tokio::time::timeout(ELSEWHERE, asked).await.ok()?;
        let joined = self.ledger.membership().ok().flatten()?;
        let here = |m: &Member| m.peer_urls.iter().any(|url| url == own_url);
        let known = |m: &Member| m.id == joined.id && here(m);
        let known = asked.members.seen()?.iter().any(known);
        (!known).then_some(asked)
    }

    fn leaving(&self) -> bool {
        let order = self.ledger.etcd_order();
        matches!(order, Ok(Some(order)) if !order.done && order.verb == EtcdVerb::Leave)
    }

    /// Whether it is others that know the cluster, and this machine not yet.
    pub(in crate::node) fn joins(&self) -> bool {
        self.whom() == Whom::Others
    }

    fn whom(&self) -> Whom {
        let joined = self.ledger.membership().ok().flatten();
        let begun = files::has_etcd_member() == Probe::Seen(());
        Whom::of(begun, self.ledger.founding(), joined.as_ref())
    }

    async fn others(&self, entry: &Entry, own_url: &str, own: IpAddr) -> BTreeSet<IpAddr> {
        let known = self.others_known(entry, own_url, own).await;
        known.unwrap_or_default()
    }

    /// Where other members may be asked: those that this machine remembers, and those that its config
    /// names, or else that the cluster's API knows where its endpoint leads. None where nobody is known, and
    /// the API has not said so yet.
    async fn others_known(
        &self,
        entry: &Entry,
        own_url: &str,
        own: IpAddr,
    ) -> Option<BTreeSet<IpAddr>> {
        let joined = self.ledger.membership().ok().flatten();
        let mut at = joined.map_or_else(BTreeSet::new, |joined| remembered(&joined, own_url));
        let config = &entry.bundle.config;
        let known = match config.etcd_members() {
            Some(told) => Some(told.to_vec()),
            None => self.control_planes(config, own).await,
        };
        if known.is_none() && at.is_empty() {
            return None;
        }
        at.extend(known.unwrap_or_default());
        at.remove(&own);
        Some(at)
    }

    /// Control planes where there may be members: some that the config names, if one of them answers, for
    /// in a cluster that only begins the endpoint may lead nowhere for a while. Or else those of the
    /// cluster's nodes, once the API has said which.
    async fn control_planes(&self, config: &MachineConfig, own: IpAddr) -> Option<Vec<IpAddr>> {
        let told = config.control_planes().iter().copied();
        let told: BTreeSet<_> = told.filter(|ip| *ip != own).collect();
        let asked = tokio::time::timeout(TOLD, self.etcd.answers(&told));
        if asked.await == Ok(true) {
            return Some(told.into_iter().collect());
        }
        self.control_planes_known(config).await
    }

    // Whoever has the quorum's word: its own may be down, or at its last address.
    async fn anywhere(&self, entry: &Entry, own_url: &str, own: IpAddr) -> BTreeSet<IpAddr> {
        let mut at = self.others(entry, own_url, own).await;
        at.insert(own);
        at.extend(HOME);
        at
    }

    pub(in crate::node) async fn execute_on_etcd(
        &self,
        entry: &Entry,
        action: &Action,
    ) -> Result<(), NodeError> {
        let config = &entry.bundle.config;
        let own = facts::look(config).node_ip;
        let peer_url = machine_plan::render::etcd_peer_url(own);
        let at = match self.whom() {
            Whom::Own if !self.leaving() => [own].into(),
            Whom::Own => {
                let mut at = self.others(entry, &peer_url, own).await;
                at.insert(own);
                at
            }
            Whom::Nobody | Whom::Others => self.others(entry, &peer_url, own).await,
        };
        match action {
            Action::JoinEtcd { name, peer_url } => {
                let as_whom = (name.as_str(), peer_url.as_str());
                self.etcd.join(&at, as_whom, &self.ledger).await
            }
            Action::PromoteMember { id, name } => self.etcd.promote(&at, (*id, name)).await,
            Action::UpdateMember { id, name, peer_url } => {
                let at = self.anywhere(entry, peer_url, own).await;
                self.etcd.update(&at, (*id, name), peer_url).await
            }
            Action::RemoveMember { id, name, .. } => self.etcd.remove(&at, (*id, name)).await,
            Action::TakeTurn { turn, over } => {
                let at = self.anywhere(entry, &peer_url, own).await;
                self.etcd.take_turn(&at, turn, over.as_ref()).await
            }
            Action::GiveTurn { seen } => self.etcd.give_turn(&at, seen).await,
            Action::LeaveEtcd { id, name } => {
                // Best effort: the others elect somebody anyway.
                let _ = self.etcd.forfeit(own, &peer_url).await;
                self.etcd.remove(&at, (*id, name)).await
            }
            _ => Ok(()),
        }
    }

    /// The last order about etcd, how far its new data is, and whether an etcd still runs.
    pub(in crate::node) fn etcd_order(&self) -> (Probe<EtcdOrder>, Restored, Probe<()>) {
        match self.ledger.etcd_order() {
            Ok(None) => (Probe::Absent, Restored::Nothing, Probe::Absent),
            Ok(Some(order)) if order.done => (Probe::Seen(order), Restored::Nothing, Probe::Absent),
            Ok(Some(order)) => {
                let (restored, runs) = (self.data.restored(&order.id), self.data.runs());
                (Probe::Seen(order), restored, runs)
            }
            Err(error) => {
                let why = crate::api::chain(&error);
                (Probe::Unreadable(why), Restored::Nothing, Probe::Absent)
            }
        }
    }

    pub(in crate::node) async fn execute_order(
        &self,
        entry: &Entry,
        action: &Action,
    ) -> Result<(), NodeError> {
        match action {
            Action::RestoreEtcd {
                order,
                from,
                name,
                peer_url,
            } => {
                let (unit, variables) = RESTORE;
                // One that an earlier run of this agent has asked for must not lose what it makes.
                if let Probe::Seen(seen) = self.systemd.unit(unit).await
                    && seen.active_state == "activating"
                {
                    self.systemd.start(unit).await?;
                    return self.data.settle(order);
                }
                let as_whom = (name.as_str(), peer_url.as_str());
                let told = self.data.prepare(order, from, as_whom, &self.ledger)?;
                files::set_note(&note(variables), &told)?;
                self.systemd.start(unit).await?;
                self.data.settle(order)
            }
            Action::PlaceEtcd { order } => self.data.place(order, &self.ledger),
            Action::SetEtcdAside { order } => self.data.set_aside(order, &self.ledger),
            Action::FinishEtcdOrder { order } => Ok(self.data.finish(order, &self.ledger)?),
            _ => self.execute_on_etcd(entry, action).await,
        }
    }
}
