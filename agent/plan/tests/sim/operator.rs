//! Who gives orders: by the machine API's rules, and by what status says is next.

use machine_plan::action::Action;
use machine_plan::membership::{
    Member, MemberId, absence_refused, discard_refused, removal_refused,
};
use machine_plan::observed::{Probe, Retire};
use machine_plan::order::{EtcdOrder, EtcdVerb};
use machine_plan::turn::{self, Purpose, Stand, Turn, stand};

use crate::faults::Lost;
use crate::machine::{Machine, Order, Process, hostname, url};
use crate::schedule::MOST;
use crate::world::World;

impl World {
    /// Refused as the machine API refuses it: with data or a membership here, or where the cluster
    /// answers. Nobody orders it twice at once, nor where he cannot know whether there is a cluster.
    pub(crate) fn bootstrap(&mut self, at: usize) {
        let machine = &self.machines[at];
        let free = machine.data.is_none() && machine.membership.is_none();
        let ordered = self.machines.iter().any(|m| m.order == Order::Ordered);
        let refused = !free || machine.order != Order::None || self.endpoint(at);
        if machine.power && !refused && !ordered && self.cluster.begun == 0 {
            self.machines[at].order = Order::Ordered;
        }
    }

    /// machinectl etcd remove, asked of this machine.
    pub(crate) fn remove(&mut self, at: usize, id: MemberId, force: bool) {
        let mut others = 0..self.machines.len();
        let heard = others.any(|other| self.reach(at, other) && self.answers(other));
        if !self.machines[at].power || !heard {
            return;
        }
        let members = self.listed(at);
        let Some(member) = members.iter().find(|m| m.id == id) else {
            return;
        };
        // By force only while all others' data is there, and stays: together that can be a majority.
        let held = |other| other == id || self.machines.iter().any(|m| m.holds(other));
        let discards = !self.cluster.voters().all(held);
        let turn = self.cluster.turn.as_ref().map(|seen| &seen.turn);
        let leaves = turn::removal_refused(&members, id, turn).is_some();
        // By force where nobody has such an order any more: it was lost with its ledger.
        let leaves = leaves && self.machines.iter().any(|m| m.ordered().is_some());
        // Nor while a voter has not heard of its vote: it asks the others, who may then be gone.
        let unheard = |m: &Machine| {
            let votes = m.data.is_some_and(|id| self.cluster.votes(id));
            votes && m.membership.as_ref().is_some_and(|joined| !joined.voter)
        };
        let unheard = self.machines.iter().any(unheard);
        let missed = removal_refused(&self.without_ghosts(&members), id).is_some();
        let refused = leaves || missed || member.answers() && (!force || discards || unheard);
        if removal_refused(&members, id).is_some() || refused {
            return;
        }
        self.told(|| format!("    removed by hand: {id}"));
        let quorate = self.quorate(at);
        let done = self.take_out(at, id);
        if quorate && !(done && self.quorate(at)) {
            self.broken("quorum lost by our own act", || {
                format!("m{at} removes {id} by order")
            });
        }
        // A founder that does not know yet who it is: who takes it out by force sees to it.
        let forgotten = |m: &Machine| m.data == Some(id) && m.membership.is_none();
        if let Some(of) = self.machines.iter().position(forgotten) {
            self.lose(of, Lost::All);
        }
    }

    // A voter that runs on without its directory answers until it ends: who knows does not count on it.
    fn without_ghosts(&self, members: &[Member]) -> Vec<Member> {
        let has = |id| self.machines.iter().any(|m| m.data == Some(id));
        let seen = |member: &Member| match has(member.id) {
            true => member.clone(),
            false => Member {
                applied: Probe::Unreadable(String::new()),
                ..member.clone()
            },
        };
        members.iter().map(seen).collect()
    }

    /// machinectl etcd leave, with the guards of the machine API. Data is discarded on one machine after
    /// the other, as people are told.
    pub(crate) fn leave(&mut self, at: usize, discard: bool) {
        let machine = &self.machines[at];
        if !machine.power {
            return;
        }
        let url = crate::agent::peer_url(machine);
        let joined = machine.membership.as_ref().map(|joined| joined.id);
        let listed = match discard {
            false if self.answers(at) => Some(self.listed(at)),
            _ => self.elsewhere(at),
        };
        let Some(members) = listed else {
            return;
        };
        let is = |id: MemberId, at: &String| Some(id) == joined || *at == url;
        let own = members.iter().find(|m| is(m.id, &m.peer_urls[0]));
        let open = self.machines.iter().any(|m| m.ordered().is_some());
        let discards = Some(&EtcdVerb::Discard);
        let discards = self.machines.iter().any(|m| m.ordered() == discards);
        let refused = match own {
            Some(own) if discard => {
                let dear = discard_refused(&members, own.id).is_some();
                dear || open || !self.may_go_down(at, Purpose::Leave)
            }
            Some(own) => removal_refused(&members, own.id).is_some(),
            // Who does not remember who it is may be one that is listed elsewhere.
            None if machine.membership.is_none() => {
                !discard
                    || machine
                        .data
                        .is_some_and(|id| self.cluster.find(id).is_some())
            }
            None => !discard,
        };
        let counted = self.without_ghosts(&members);
        let missed = own.is_some_and(|own| removal_refused(&counted, own.id).is_some());
        // Nor does one leave meanwhile: together that can be a majority.
        if refused || discards || missed || (discard && open) {
            return;
        }
        let verb = match discard {
            true => EtcdVerb::Discard,
            false => EtcdVerb::Leave,
        };
        let machine = &mut self.machines[at];
        machine.orders += 1;
        machine.etcd_order = Some(EtcdOrder {
            version: EtcdOrder::VERSION,
            id: format!("{}-{}", verb.word(), machine.orders),
            by: String::new(),
            ordered_ms: 0,
            verb,
            done: false,
        });
    }

    /// Its member's data is kept aside, and who it was is forgotten.
    pub(crate) fn set_aside(&mut self, at: usize) {
        let machine = &self.machines[at];
        if let (Some(id), Process::Up(_)) = (machine.data, machine.etcd) {
            self.broken("data set aside under a running etcd", || {
                format!("m{at}: {id}")
            });
        }
        let machine = &mut self.machines[at];
        machine.membership = None;
        machine.data = None;
    }

    /// With the guard of the machine API. Then pods leave.
    pub(crate) fn go_down(&mut self, at: usize, how: Purpose) {
        if self.machines[at].power && self.may_go_down(at, how) {
            self.machines[at].going = Some(how);
        }
    }

    // Who does not answer is missed already.
    fn may_go_down(&mut self, at: usize, how: Purpose) -> bool {
        let Process::Up(id) = self.machines[at].etcd else {
            return true;
        };
        if !self.answers(at) {
            return true;
        }
        let (members, seen) = (self.listed(at), self.cluster.whose_turn());
        if absence_refused(&members, id).is_some() {
            return false;
        }
        let over = match stand(&members, id, &seen) {
            Stand::NotNeeded => return true,
            Stand::Held(_) | Stand::Unknown(_) => return false,
            Stand::Ours(seen) => Some(seen),
            Stand::Free(left) => left,
        };
        let machine = &self.machines[at];
        let turn = Turn {
            version: Turn::VERSION,
            holder: machine.name(),
            member: id,
            purpose: turn::purpose(how, id, over),
            boot: machine.boot.to_string(),
            since: machine.now,
            order: None,
        };
        self.told(|| format!("    m{at} has the turn {how}"));
        self.cluster.take_turn(&turn, over)
    }

    /// What was ordered is done, unless it may not be any more: the API server ends some time before.
    pub(crate) fn goes_down(&mut self, at: usize) {
        let Some(how) = self.machines[at].going else {
            return;
        };
        if !self.may_go_down(at, how) {
            self.machines[at].stays();
            self.told(|| format!("    m{at} stays"));
            return;
        }
        if self.machines[at].retire == Retire::Nothing {
            self.machines[at].retire = Retire::ApiServer;
            return;
        }
        self.machines[at].stays();
        let member = match self.machines[at].etcd {
            Process::Up(id) if self.answers(at) => Some(id),
            _ => None,
        };
        let quorate = self.quorate(at);
        let alone =
            member.is_none_or(|id| self.cluster.voters().count() == 1 || !self.cluster.votes(id));
        if let Some(id) = member {
            self.goes_away(at, id, true, "goes down");
        }
        self.machines[at].stop();
        self.machines[at].power = how != Purpose::Shutdown;
        let mut others = (0..self.machines.len()).filter(|other| self.reach(at, *other));
        if quorate && !alone && !others.any(|other| self.quorate(other)) {
            self.broken("quorum lost by our own act", || {
                format!("m{at} goes down by order")
            });
        }
    }

    /// Another document is in force.
    pub(crate) fn apply(&mut self, at: usize) {
        let identity = &mut self.machines[at].identity;
        identity.generation = 1 - identity.generation;
    }

    /// Another document gives it another address; the last one stays there for now, or not. One machine
    /// after the other, as people are told: not while a member is listed where it is no more or not yet,
    /// while a request is on its way that lists one anew, or while a voter's data is gone or going.
    pub(crate) fn moves(&mut self, at: usize, keeps: bool) {
        let astray = |m: &Machine| {
            let underway = matches!(m.underway, Some(Action::UpdateMember { .. }));
            // One that is off, or is just starting, is not there yet either.
            let there = matches!(m.etcd, Process::Up(_)) && m.listens == url(m.identity.address);
            let moved = m.moves > 0 && !there;
            underway || moved || self.is_astray(m)
        };
        let held = |id| self.machines.iter().any(|m| m.holds(id));
        if !self.cluster.voters().all(held) {
            return;
        }
        // A learner that does not remember who it is would be found by nobody, and knows nobody.
        let machine = &self.machines[at];
        let learns = machine.data.is_some_and(|id| !self.cluster.votes(id));
        let forgot = learns && machine.membership.is_none();
        if forgot || machine.moves >= 2 || self.machines.iter().any(astray) {
            return;
        }
        let machine = &mut self.machines[at];
        machine.moves += 1;
        machine.former = keeps.then_some(machine.identity.address);
        let fresh =
            u8::try_from(at).unwrap_or_default() + MOST * (machine.replaced + machine.moves);
        machine.identity.address = fresh;
    }

    /// Does what this machine's status says is next, as far as it is true.
    pub(crate) fn obey(&mut self, at: usize) {
        let Some(next) = self.machines[at].next_step.take() else {
            return;
        };
        self.told(|| format!("    m{at} says: {next}"));
        let removed = next.split("machinectl etcd remove ").nth(1);
        match removed.map(str::parse::<MemberId>) {
            Some(Ok(id)) if !self.lives(id) => self.remove(at, id, false),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.remove_the_gone(at),
            None if next.contains("machinectl bootstrap") => self.bootstrap(at),
            None if next.contains("machinectl etcd leave --discard") => self.leave(at, true),
            None if next.contains("machinectl etcd join") => self.machines[at].etcd_order = None,
            None if next.contains("another hostname") => self.rename(at),
            None if next.contains("reboot") => self.go_down(at, Purpose::Reboot),
            None => {}
        }
    }

    // A name that nobody has, and no member had.
    fn rename(&mut self, at: usize) {
        let free = |name: &u8| {
            let hostname = hostname(*name);
            let mut members = self.cluster.members.iter();
            let known = self.machines.iter().any(|m| m.identity.name == *name);
            !known && members.all(|e| e.member.name != hostname)
        };
        let own = u8::try_from(at).unwrap_or_default();
        let names = (0..4).map(|again| own + MOST * again);
        if let Some(name) = names.into_iter().find(free) {
            self.machines[at].identity.name = name;
        }
    }

    /// Takes out, one by one, the members whose machine is no more.
    pub(crate) fn remove_the_gone(&mut self, at: usize) {
        let gone = |id: &MemberId| {
            let member = &self.cluster.find(*id).expect("listed").member;
            let same = |m: &Machine| {
                let url = crate::agent::peer_url(m);
                m.data.is_none() && (member.peer_urls[0] == url || m.name() == member.name)
            };
            !self.lives(*id) && !self.machines.iter().any(same)
        };
        let ids = self.cluster.members.iter().map(|e| e.member.id);
        if let Some(id) = ids.into_iter().find(gone) {
            self.remove(at, id, false);
        }
    }

    /// Whether there is still a machine that is, or is about to be, this member.
    fn lives(&self, id: MemberId) -> bool {
        let is = |m: &Machine| {
            let joined = m.membership.as_ref().is_some_and(|joined| joined.id == id);
            m.data == Some(id) || m.etcd == Process::Up(id) || joined
        };
        self.machines.iter().any(is)
    }
}
