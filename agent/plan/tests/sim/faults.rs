//! What fails, and what is lost.

use machine_plan::membership::{MemberId, quorum};

use crate::etcd::Cluster;
use crate::machine::{Machine, Order, Process, Told};
use crate::schedule::MOST;
use crate::world::World;

/// What of a machine is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lost {
    Etcd,
    Ledger,
    All,
}

impl World {
    pub(crate) fn power(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.power = !machine.power;
        machine.stop();
    }

    pub(crate) fn side(&mut self, at: usize, mark: u8) {
        // The first marks are shared; the last is nobody else's.
        let own = 10 + u8::try_from(at).unwrap_or_default();
        self.machines[at].side = if mark < 3 { mark } else { own };
    }

    pub(crate) fn unite(&mut self) {
        self.machines.iter_mut().for_each(|m| m.side = 0);
    }

    /// Disks are only lost where the cluster outlives it, or where nobody else had joined it: nobody
    /// joins a cluster that is dead, and taking one back from a copy is not tried here. Whether it was
    /// lost.
    pub(crate) fn lose(&mut self, at: usize, what: Lost) -> bool {
        let url = crate::agent::peer_url(&self.machines[at]);
        let removed = |id| match self.cluster.find(id) {
            None => true,
            // Nor a learner where it is now.
            Some(e) => e.member.learner && e.member.peer_urls[0] != url,
        };
        let what = match what {
            // Nothing would tell it that it is no member any more: that is seen to by hand.
            Lost::Ledger if self.machines[at].data.is_some_and(removed) => Lost::All,
            what => what,
        };
        let data = self.machines[at].data.filter(|_| what != Lost::Ledger);
        if let Some(id) = data.filter(|id| self.cluster.votes(*id)) {
            let ends = self.cluster.members.len() == 1;
            match ends {
                true if !self.may_end(at, what) => return false,
                true => {
                    let (ids, revision) = (self.cluster.ids, self.cluster.revision);
                    self.cluster = Cluster {
                        ids,
                        revision,
                        ..Cluster::default()
                    };
                }
                false if !self.data_outlives(id) => return false,
                false => {}
            }
        }
        // A founder that does not know yet that others have joined it.
        let own = &self.machines[at];
        let founding = own.order == Order::Ordered && own.membership.is_none();
        if what == Lost::Etcd && founding && self.cluster.members.len() > 1 {
            return false;
        }
        let machine = &mut self.machines[at];
        // A disk is replaced with the machine off. Etcd's directory may also be emptied while etcd runs
        // on; not in the boot in which its member began, whose manifest says how: no shell is there
        // to do it.
        let alone = |told: &Told| matches!(told, Told::Existing(peers) if peers.len() == 1);
        // Another document may have changed that manifest since.
        let now = Some(machine.boot.to_string());
        // Nor where the ledger is lost as well: then it was the whole disk.
        let joined = machine.membership.as_ref();
        let began_now = joined.is_none_or(|joined| joined.boot == now);
        let running = machine.manifest.as_ref().is_some_and(|m| alone(&m.told)) && !began_now;
        if what != Lost::Etcd || !running || matches!(machine.etcd, Process::Starting(_)) {
            machine.stop();
        }
        machine.asked = None;
        machine.seen = None;
        if what != Lost::Ledger {
            machine.data = None;
        }
        if what != Lost::Etcd {
            machine.membership = None;
            machine.order = Order::None;
            machine.etcd_order = None;
        }
        true
    }

    // A cluster of one, of which nobody else knows: somebody begins again, or its order is still there.
    fn may_end(&self, at: usize, what: Lost) -> bool {
        let strange = |m: &Machine| m.membership.is_none() && m.data.is_none();
        let mut others = self
            .machines
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        let own = &self.machines[at];
        let again = own.membership.is_none() && own.order == Order::Ordered;
        others.all(|(_, m)| strange(m)) && (what == Lost::All || again)
    }

    /// Whether enough of the others keep theirs, and are where they are looked for.
    pub(crate) fn data_outlives(&self, lost: MemberId) -> bool {
        let keeps = |m: &Machine, id| m.holds(id) && !self.is_astray(m);
        let held = |id: &MemberId| *id != lost && self.machines.iter().any(|m| keeps(m, *id));
        let left = self.cluster.voters().filter(held).count();
        left >= quorum(self.cluster.voters().count())
    }

    /// Whether its member is listed where the machine is no more.
    pub(crate) fn is_astray(&self, machine: &Machine) -> bool {
        let listed = machine.data.and_then(|id| self.cluster.find(id));
        let url = crate::machine::url(machine.identity.address);
        listed.is_some_and(|e| e.member.peer_urls[0] != url)
    }

    /// Another machine in its place.
    pub(crate) fn replace(&mut self, at: usize, name: bool, address: bool) {
        if self.machines[at].replaced >= 2 || !self.lose(at, Lost::All) {
            return;
        }
        let machine = &mut self.machines[at];
        machine.replaced += 1;
        let fresh =
            u8::try_from(at).unwrap_or_default() + MOST * (machine.replaced + machine.moves);
        machine.underway = None;
        if name {
            machine.identity.name = fresh;
        }
        if address {
            machine.identity.address = fresh;
        }
    }

    /// Set up anew under another's name.
    pub(crate) fn twin(&mut self, at: usize, of: usize) {
        let name = self.machines[of % self.machines.len()].identity.name;
        if name != self.machines[at].identity.name && self.lose(at, Lost::All) {
            self.machines[at].identity.name = name;
        }
    }

    pub(crate) fn kill_etcd(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.etcd != Process::Down {
            machine.etcd = Process::Starting(machine.start());
        }
    }

    /// All faults end; what was on its way arrives, what was ordered is done, and all are turned on.
    pub(crate) fn heal(&mut self) {
        self.unite();
        for at in 0..self.machines.len() {
            while self.machines[at].going.is_some() {
                self.goes_down(at);
            }
            self.machines[at].power = true;
            self.machines[at].slow = false;
            self.arrives(at);
        }
    }
}
