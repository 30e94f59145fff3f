//! What must never be, and what must be in the end. Judged by what is true in
//! the model, never by the planner's own rules.

use machine_plan::action::Action;
use machine_plan::membership::{MemberId, quorum};

use crate::etcd::LOG;
use crate::machine::{Machine, Order, Process, Seen};
use crate::world::World;

/// What went wrong.
#[derive(Debug, Clone)]
pub(crate) struct Breach {
    /// Which rule.
    pub(crate) rule: &'static str,
    pub(crate) how: String,
}

impl World {
    /// An action that an agent is about to carry out. `fresh`: all that it was decided from is so.
    pub(crate) fn judge(&mut self, at: usize, action: &Action, fresh: bool) {
        let rule = match action {
            Action::JoinEtcd { peer_url, .. } => self.joining(at, peer_url, fresh),
            Action::RemoveMember { id, .. } => self.removing(at, *id, fresh),
            Action::LeaveEtcd { id, .. } => {
                let dear = self.cluster.votes(*id) && !self.outlives(at, *id);
                (fresh && dear).then_some("quorum lost by our own act")
            }
            Action::PromoteMember { id, .. } => {
                let early = self
                    .cluster
                    .find(*id)
                    .is_some_and(|e| e.member.learner && e.log * 10 < LOG * 9);
                (fresh && early).then_some("promoted early")
            }
            Action::UpdateMember { id, peer_url, .. } => self.listing(at, *id, peer_url, fresh),
            Action::WriteFile { .. } | Action::RestartUnit { .. } => {
                let machine = &mut self.machines[at];
                let etcd = match action {
                    Action::WriteFile { file } => file.path == machine.wish().path,
                    _ => true,
                };
                let there = machine.manifest.is_some();
                match machine.etcd {
                    Process::Up(id) if etcd && there && fresh => self.absent(at, id),
                    _ => None,
                }
            }
            Action::KeepMembership { membership } => {
                let machine = &self.machines[at];
                let learner = self
                    .cluster
                    .learner()
                    .is_some_and(|e| e.member.id == membership.id);
                let other = machine.data.is_some_and(|id| id != membership.id);
                match &machine.membership {
                    _ if membership.voter && learner => Some("a learner remembered as a voter"),
                    _ if other => Some("remembered as whom it is not"),
                    Some(joined)
                        if joined.voter && joined.id == membership.id && !membership.voter =>
                    {
                        Some("a vote forgotten")
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(rule) = rule {
            self.broken(rule, || format!("m{at}: {action}"));
        }
    }

    /// The same of what takes a machine away from the others: one at a time. `held`: its turn was made
    /// to last right before, or all is as it was seen.
    pub(crate) fn judge_turn(&mut self, at: usize, action: &Action, seen: &Seen, held: bool) {
        let wish = self.machines[at].wish();
        let machine = &self.machines[at];
        let unit = wish.desired.etcd_unit;
        let runs = seen.answered && machine.manifest.is_some();
        let manifest = machine.manifest.as_ref().map(|m| &m.seen.digest);
        let right = wish.begun.iter().any(|digest| manifest == Some(digest));
        // One that the others do not find any more is away already, as is one that cannot begin again
        // where it was.
        let begins = |m: &crate::machine::Manifest| machine.has(&m.at);
        let found = match machine.etcd {
            Process::Up(_) => self.found(at),
            _ => machine.manifest.as_ref().is_some_and(begins),
        };
        let takes_away = match action {
            Action::WriteFile { file } if file.path == wish.path => runs && found && !unit,
            Action::RestartUnit { .. } => runs && found,
            // They do not find it until it is restarted, which is next.
            Action::UpdateMember { .. } => runs && found && !right,
            Action::WriteFile { file } if file.path == wish.api_path => {
                seen.answered && seen.listens && machine.api_manifest.is_some()
            }
            Action::LeaveEtcd { .. } => true,
            _ => false,
        };
        if let Some(id) = machine.data.filter(|_| held && takes_away) {
            let leaves = matches!(action, Action::LeaveEtcd { .. });
            self.goes_away(at, id, !leaves, &action.to_string());
        }
    }

    /// One machine is taken from the others by our own act, and counts as gone until it is well again.
    pub(crate) fn goes_away(&mut self, at: usize, id: MemberId, stays: bool, how: &str) {
        if self.cluster.voters().count() < 2 || !self.cluster.votes(id) {
            return;
        }
        let other = |o: &usize| {
            let machine = &self.machines[*o];
            let votes = machine.data.is_some_and(|id| self.cluster.votes(id));
            *o != at && machine.away && votes && !self.well(*o)
        };
        if let Some(other) = (0..self.machines.len()).find(other) {
            self.broken("two machines away at once", || {
                format!("m{at} ({how}), and m{other}")
            });
        }
        self.machines[at].away = stays;
    }

    /// Whether the others can count on it.
    fn well(&self, at: usize) -> bool {
        self.machines[at].power && self.api_ready(at) && self.found(at)
    }

    fn joining(&self, at: usize, peer_url: &str, fresh: bool) -> Option<&'static str> {
        if self.machines[at].data.is_some() {
            return Some("joins though it has data");
        }
        if !fresh || self.cluster.at(peer_url).is_some() {
            return None;
        }
        if self.cluster.learner().is_some() {
            return Some("joins though there is a learner");
        }
        let voters = self.cluster.voters().count();
        let run = self.running(at, self.cluster.voters());
        let dear = run < quorum(voters + 1) && (voters, run) != (1, 1);
        dear.then_some("quorum risked by one more")
    }

    fn removing(&self, at: usize, id: MemberId, fresh: bool) -> Option<&'static str> {
        // However old the look was: who has its data is a member, and what is lost never comes back.
        if self.machines.iter().any(|m| m.data == Some(id)) {
            return Some("a member with its data is taken out");
        }
        if self.runner(id).is_some() && fresh {
            return Some("a member that runs is taken out");
        }
        let dear = self.cluster.votes(id) && !self.outlives(at, id);
        (fresh && dear).then_some("quorum lost by our own act")
    }

    fn listing(&mut self, at: usize, id: MemberId, url: &str, fresh: bool) -> Option<&'static str> {
        // However old the look was: etcd may take it for a voter then.
        if self.cluster.learner().is_some_and(|e| e.member.id == id) {
            return Some("a learner is listed elsewhere");
        }
        let machine = &mut self.machines[at];
        let wish = machine.wish();
        if !fresh {
            return None;
        }
        if machine.data != Some(id) || wish.desired.etcd_peer_url != url {
            return Some("another's address is listed");
        }
        // It is restarted next.
        let right = |m: &crate::machine::Manifest| wish.begun.contains(&m.seen.digest);
        match machine.etcd {
            Process::Up(id) if machine.manifest.as_ref().is_some_and(|m| !right(m)) => {
                self.absent(at, id)
            }
            _ => None,
        }
    }

    // It goes away for the time of a restart. Of two each is the quorum: they are restarted all the
    // same, for nothing would ever change that.
    fn absent(&self, at: usize, id: MemberId) -> Option<&'static str> {
        let voters = self.cluster.voters().count();
        // Nor of one that the others do not find any more.
        let missed = voters <= 2 || !self.found(at);
        if !self.quorate(at) || !self.cluster.votes(id) || missed {
            return None;
        }
        let others = self.cluster.voters().filter(|voter| *voter != id);
        (self.running(at, others) < quorum(voters)).then_some("quorum lost by our own act")
    }

    /// What must hold at any moment, whoever did it.
    pub(crate) fn check(&mut self) {
        for at in 0..self.machines.len() {
            if self.well(at) {
                self.machines[at].away = false;
            }
            let Some(id) = self.machines[at].data else {
                continue;
            };
            let twice = self.machines.iter().filter(|m| m.data == Some(id)).count();
            if twice > 1 {
                self.broken("an identity twice", || format!("{twice} machines are {id}"));
            }
        }
    }

    /// Why there is still something to wait for.
    pub(crate) fn unfinished(&mut self) -> Option<String> {
        if self.cluster.begun != 1 || self.cluster.members.len() != self.machines.len() {
            let members: Vec<_> = self
                .listed(0)
                .into_iter()
                .map(|m| (m.id.0, m.name))
                .collect();
            return Some(format!("{} members {members:?}", self.cluster.begun));
        }
        if let Some(seen) = &self.cluster.turn
            && self.cluster.find(seen.turn.member).is_some()
        {
            return Some(format!("{} has the turn", seen.turn.holder));
        }
        (0..self.machines.len()).find_map(|at| {
            let wish = self.machines[at].wish();
            let machine = &self.machines[at];
            let why = self.unfinished_machine(machine, &wish)?;
            Some(format!("m{at}: {why}"))
        })
    }

    fn unfinished_machine(
        &self,
        machine: &Machine,
        wish: &crate::machine::Wish,
    ) -> Option<&'static str> {
        let Some(id) = machine.data else {
            return Some("has no data");
        };
        let manifest = machine.manifest.as_ref().map(|m| &m.seen.digest);
        let joined = machine.membership.as_ref();
        if !self.cluster.votes(id) {
            return Some("has no vote");
        }
        if machine.etcd != Process::Up(id) {
            return Some("etcd does not run");
        }
        let listed = self.cluster.find(id).map(|e| &e.member.peer_urls[0]);
        if listed != Some(&wish.desired.etcd_peer_url) {
            return Some("is listed where it is no more");
        }
        // What was accepted last is in force.
        if !wish.begun.iter().any(|digest| manifest == Some(digest)) {
            return Some("runs by another document");
        }
        let api = machine.api_manifest.as_ref().map(|seen| &seen.digest);
        if api != wish.api.as_ref() {
            return Some("its API runs by another document");
        }
        if joined.is_none_or(|joined| joined.id != id || !joined.voter) {
            return Some("does not remember who it is");
        }
        if machine.order == Order::Ordered {
            return Some("its order is not done");
        }
        let serves = machine.api == Some(0) || machine.identity.apart;
        (!serves).then_some("its API does not listen")
    }
}
