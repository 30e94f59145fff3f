//! The agent: the real planner between what the model shows it and what the model does for it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use machine_plan::action::Action;
use machine_plan::desired::ETCD;
use machine_plan::membership::{Member, Membership};
use machine_plan::observed::{Observed, Probe, UnitSeen};
use machine_plan::order::EtcdVerb;
use machine_plan::stages::{Stage, verdict};
use machine_plan::turn::{TurnSeen, renews};
use machine_plan::verdict::Verdict;

use crate::etcd::{Entry, LOG};
use crate::machine::{Machine, Manifest, Order, Process, Seen};
use crate::schedule::Death;
use crate::world::World;

impl World {
    /// The first half of a look: who the members are.
    pub(crate) fn ask(&mut self, at: usize) {
        if self.machines[at].power {
            self.machines[at].asked = Some(self.asked(at));
        }
    }

    /// A look, with the list that was asked for before if there is one. The disks are read after it.
    /// Where `blind`, nobody answered in time.
    pub(crate) fn look(&mut self, at: usize, blind: bool) {
        if !self.machines[at].power {
            return;
        }
        let before = self.machines[at].asked.take();
        let whole = before.is_none() && !blind;
        let (members, turn) = match blind {
            true => (
                Probe::Unreadable(String::new()),
                Probe::Unreadable(String::new()),
            ),
            false => before.unwrap_or_else(|| self.asked(at)),
        };
        let wish = self.machines[at].wish();
        let observed = self.observe(at, members, turn);
        let machine = &mut self.machines[at];
        let judge = |stage| verdict(stage, &wish.desired, &observed, machine.now);
        let mut actions = Vec::new();
        machine.next_step = None;
        match judge(Stage::Etcd).expect("a stage") {
            Verdict::Act { actions: more } => actions = more,
            Verdict::Blocked { next_step, .. } => machine.next_step = next_step,
            Verdict::Held { .. } => {}
            // Those that need this one, and act at once.
            Verdict::Settled => {
                let others = [
                    Stage::ControlPlane,
                    Stage::Members,
                    Stage::Cluster,
                    Stage::Turn,
                ];
                let api = observed.api_server == Probe::Seen(());
                let api = api || machine.identity.apart;
                let may =
                    |stage: &Stage| *stage != Stage::Cluster || (api && observed.bootstrap_ordered);
                for stage in others.into_iter().filter(may) {
                    match judge(stage) {
                        Some(Verdict::Act { actions: more }) => actions.extend(more),
                        Some(Verdict::Blocked { next_step, .. }) if next_step.is_some() => {
                            machine.next_step = next_step;
                        }
                        _ => {}
                    }
                }
            }
        }
        machine.seen = Some(Seen {
            actions,
            whole,
            answered: observed.members.seen().is_some(),
            listens: observed.api_server != Probe::Absent,
        });
    }

    /// Looks and acts. Where it is killed at some effect, the rest is lost.
    pub(crate) fn turn(&mut self, at: usize, blind: bool, killed: Option<(u8, Death)>) {
        self.look(at, blind);
        self.carry_out(at, true, killed);
        // An order to go down goes with the agent that carries it out.
        if killed.is_some() {
            self.machines[at].stays();
        }
    }

    /// Acts on what it has seen. Where that was not `now`, it may be true no more.
    pub(crate) fn carry_out(&mut self, at: usize, now: bool, killed: Option<(u8, Death)>) {
        let Some(seen) = self.machines[at].seen.take() else {
            return;
        };
        let actions = &seen.actions;
        for (index, action) in actions.iter().enumerate() {
            self.told(|| format!("    m{at}: {action}"));
            // What it saw is what is only until its own first effect, but for its turn.
            let turn = |a: &Action| matches!(a, Action::TakeTurn { .. });
            let fresh = now && seen.whole && actions[..index].iter().all(turn);
            let guarded = actions[..index].iter().any(turn);
            self.judge(at, action, fresh);
            self.judge_turn(at, action, &seen, fresh || guarded);
            match killed.filter(|(when, _)| usize::from(*when) == index) {
                None if self.act(at, action, true) => {}
                None | Some((_, Death::Before)) => return,
                Some((_, Death::After)) => {
                    self.act(at, action, false);
                    return;
                }
                Some((_, Death::Underway)) => {
                    let machine = &mut self.machines[at];
                    machine.underway = Some(action.clone());
                    // In doubt before anything is done.
                    if let Action::RestartUnit { .. } | Action::StartUnit { .. } = action {
                        machine.note = Some(String::new());
                    }
                    return;
                }
            }
        }
    }

    /// What an agent that was killed had asked of the cluster reaches it.
    pub(crate) fn arrives(&mut self, at: usize) {
        let asked = self.machines[at].underway.take();
        let of_cluster = asked.filter(|action| {
            matches!(
                action,
                Action::JoinEtcd { .. }
                    | Action::PromoteMember { .. }
                    | Action::UpdateMember { .. }
                    | Action::RemoveMember { .. }
                    | Action::LeaveEtcd { .. }
                    | Action::TakeTurn { .. }
                    | Action::GiveTurn { .. }
            )
        });
        if let Some(action) = of_cluster {
            self.told(|| format!("    m{at}: {action} arrives"));
            self.act(at, &action, false);
        }
    }

    /// The members, and whose turn it is by the same word.
    fn asked(&self, at: usize) -> (Probe<Vec<Member>>, Probe<TurnSeen>) {
        let members = self.members(at);
        let turn = match &members {
            Probe::Seen(_) => self.cluster.whose_turn(),
            Probe::Absent => Probe::Absent,
            Probe::Unreadable(why) => Probe::Unreadable(why.clone()),
        };
        (members, turn)
    }

    // Whom to ask is the adapter's rule: machined's `Whom`.
    fn members(&self, at: usize) -> Probe<Vec<Member>> {
        let machine = &self.machines[at];
        let unreadable = Probe::Unreadable(String::new());
        let own = match &machine.membership {
            None if machine.data.is_none() && machine.order == Order::Ordered => {
                return Probe::Absent;
            }
            None => machine.data.is_some(),
            Some(joined) => machine.data.is_some() && joined.voter,
        };
        let leaving = machine.ordered() == Some(&EtcdVerb::Leave);
        if own && self.answers(at) {
            return Probe::Seen(self.listed(at));
        }
        let told = !self.known(at).is_empty() || self.has_list(at);
        if !own && !told && !self.endpoint(at) {
            return Probe::Absent;
        }
        let listed = self.elsewhere(at);
        // While its own does not answer, others only tell it that it is theirs no more, or not there.
        let url = peer_url(machine);
        let theirs = |all: &Vec<Member>| {
            let joined = machine.membership.as_ref();
            let here = |m: &Member, id| m.id == id && m.peer_urls[0] == url;
            joined.is_none_or(|joined| all.iter().any(|m| here(m, joined.id)))
        };
        let news = listed.filter(|all| !own || leaving || !theirs(all));
        news.map_or(unreadable, Probe::Seen)
    }

    /// Whether its document says where others are.
    fn has_list(&self, at: usize) -> bool {
        self.machines[at].identity.apart && self.machines.len() > 1
    }

    /// Where it remembers other members.
    fn known(&self, at: usize) -> Vec<&String> {
        let machine = &self.machines[at];
        let known = machine
            .membership
            .iter()
            .flat_map(|joined| &joined.initial_cluster);
        let own_url = peer_url(machine);
        known
            .map(|(_, url)| url)
            .filter(|url| **url != own_url)
            .collect()
    }

    /// The members, by the word of others that it remembers or that its document or the API knows.
    pub(crate) fn elsewhere(&self, at: usize) -> Option<Vec<Member>> {
        let (known, endpoint) = (self.known(at), self.endpoint(at));
        let asked = |(index, other): (usize, &Machine)| {
            let may = index != at && self.reach(at, index) && self.answers(index);
            let there = may && other.has(&other.listens);
            there && (endpoint || self.has_list(at) || known.contains(&&other.listens))
        };
        let heard = self.machines.iter().enumerate().any(asked);
        heard.then(|| self.listed(at))
    }

    fn observe(
        &mut self,
        at: usize,
        members: Probe<Vec<Member>>,
        turn: Probe<TurnSeen>,
    ) -> Observed {
        let answers = self.answers(at);
        let machine = &mut self.machines[at];
        let wish = machine.wish();
        let probe = |seen: Option<_>| seen.map_or(Probe::Absent, Probe::Seen);
        let unit = wish.desired.etcd_unit;
        let file = match unit {
            true => &machine.arguments,
            false => &machine.manifest,
        };
        let manifest = file.as_ref().map(|m| m.seen.clone());
        let state = if machine.manifest.is_some() {
            "active"
        } else {
            "inactive"
        };
        let seen = UnitSeen {
            active_state: state.to_owned(),
            inputs: machine.note.clone(),
            ..UnitSeen::default()
        };
        let seen = (ETCD.to_owned(), Probe::Seen(seen));
        let own = [Some(machine.identity.address), machine.former];
        let address = |of: u8| IpAddr::from([192, 0, 2, of + 1]);
        let etcd_astray = answers && machine.listens != peer_url(machine);
        Observed {
            units: unit.then_some(seen).into_iter().collect(),
            boot: machine.boot.to_string(),
            addresses: own.into_iter().flatten().map(address).collect(),
            etcd_astray,
            etcd_data: probe(machine.data.map(|_| ())),
            membership: machine
                .membership
                .clone()
                .map_or(Probe::Absent, Probe::Seen),
            members,
            turn,
            going_down: machine.going.is_some(),
            retire: machine.retire,
            bootstrap_ordered: machine.order == Order::Ordered,
            bootstrap_done: machine.order == Order::Done,
            api_server: match machine.api {
                Some(0) if answers => Probe::Seen(()),
                Some(0) => Probe::Unreadable(String::new()),
                _ => Probe::Absent,
            },
            etcd_order: machine
                .etcd_order
                .clone()
                .map_or(Probe::Absent, Probe::Seen),
            etcd_runs: probe(matches!(machine.etcd, Process::Up(_)).then_some(())),
            applied: Some(wish.objects.clone()),
            files: BTreeMap::from([
                (
                    wish.path.clone(),
                    manifest.map_or(Probe::Absent, Probe::Seen),
                ),
                (
                    wish.api_path.clone(),
                    machine
                        .api_manifest
                        .clone()
                        .map_or(Probe::Absent, Probe::Seen),
                ),
            ]),
            ..Observed::default()
        }
    }

    /// Whether it worked. Who was killed in between has not kept it in mind.
    fn act(&mut self, at: usize, action: &Action, minds: bool) -> bool {
        match action {
            Action::WriteFile { file } => self.write(at, file),
            Action::KeepMembership { membership } => {
                self.machines[at].membership = Some(membership.clone());
                true
            }
            Action::FinishBootstrap => {
                self.machines[at].order = Order::Done;
                true
            }
            Action::JoinEtcd { name, peer_url } => {
                if !self.open(at) {
                    return false;
                }
                if self.cluster.at(peer_url).is_none() {
                    // Too many learners: another was quicker.
                    if self.cluster.learner().is_some() {
                        return false;
                    }
                    self.cluster.add(peer_url, true);
                }
                if minds {
                    let members = self.listed(at);
                    let own = self.cluster.at(peer_url).expect("just added").member.id;
                    let boot = self.machines[at].boot.to_string();
                    let joined = Membership::of(&members, own, name, false).added_in(&boot);
                    self.machines[at].membership = Some(joined);
                }
                true
            }
            Action::PromoteMember { id, .. } => {
                let runs = self.runner(*id).is_some();
                let ready = self.open(at) && runs;
                let mut entries = self.cluster.members.iter_mut();
                let Some(entry) = entries.find(|e| e.member.id == *id && ready) else {
                    return false;
                };
                let ready = entry.log * 10 >= LOG * 9;
                entry.member.learner &= !ready;
                ready
            }
            Action::UpdateMember { id, peer_url, .. } => {
                let free = |e: &Entry| e.member.id == *id || e.member.peer_urls[0] != *peer_url;
                let told = self.open(at) && self.cluster.members.iter().all(free);
                told && self.cluster.list_at(*id, peer_url)
            }
            Action::RemoveMember { id, .. } | Action::LeaveEtcd { id, .. } => {
                self.take_out(at, *id)
            }
            Action::TakeTurn { turn, over } => {
                // Who loses its own does not go on; who only wanted one looks again.
                self.open(at)
                    && (self.cluster.take_turn(turn, over.as_ref()) || !renews(turn, over.as_ref()))
            }
            Action::GiveTurn { seen } => {
                let open = self.open(at);
                if open && self.cluster.turn.as_ref() == Some(seen) {
                    self.cluster.turn = None;
                    self.machines[at].away = false;
                }
                open
            }
            Action::RemoveFile { path } => self.remove_file(at, path),
            Action::RestartUnit { inputs, .. } | Action::StartUnit { inputs, .. } => {
                let machine = &mut self.machines[at];
                machine.manifest.clone_from(&machine.arguments);
                machine.etcd = Process::Down;
                machine.note = Some(if minds { inputs.clone() } else { String::new() });
                machine.manifest.is_some()
            }
            Action::StopUnit { .. } => {
                let machine = &mut self.machines[at];
                machine.manifest = None;
                machine.etcd = Process::Down;
                if minds {
                    machine.note = None;
                }
                true
            }
            Action::SetEtcdAside { .. } => {
                self.set_aside(at);
                true
            }
            Action::FinishEtcdOrder { order } => {
                let of = self.machines[at].etcd_order.as_mut();
                if let Some(of) = of.filter(|of| of.id == *order) {
                    of.done = true;
                }
                true
            }
            other => panic!("no business of etcd: {other}"),
        }
    }

    fn write(&mut self, at: usize, file: &machine_plan::files::RenderedFile) -> bool {
        let machine = &mut self.machines[at];
        let manifest = Manifest::of(file);
        if file.path == machine.wish().api_path {
            machine.api_manifest = Some(manifest.seen);
            machine.api = None;
            return true;
        }
        if machine.wish().desired.etcd_unit {
            machine.arguments = Some(manifest);
            return true;
        }
        // kubelet hears of it at once: what runs by another manifest ends.
        if machine
            .manifest
            .as_ref()
            .is_none_or(|m| m.seen != manifest.seen)
        {
            machine.etcd = Process::Down;
        }
        machine.manifest = Some(manifest);
        true
    }

    // kubelet ends what runs by it at its next tick.
    fn remove_file(&mut self, at: usize, path: &str) -> bool {
        let machine = &mut self.machines[at];
        let wish = machine.wish();
        if path == wish.path && wish.desired.etcd_unit {
            machine.arguments = None;
        } else if path == wish.path {
            machine.manifest = None;
        } else if path == wish.api_path {
            machine.api_manifest = None;
        }
        true
    }

    /// etcd's own check is the last: it would refuse what costs the quorum.
    pub(crate) fn take_out(&mut self, at: usize, id: machine_plan::membership::MemberId) -> bool {
        if self.cluster.find(id).is_none() {
            return self.open(at);
        }
        if !self.open(at) || (self.cluster.votes(id) && !self.outlives(at, id)) {
            return false;
        }
        self.cluster.members.retain(|e: &Entry| e.member.id != id);
        true
    }

    // Whether a voter hears it and has the majority's word.
    fn open(&self, at: usize) -> bool {
        let mut others = 0..self.machines.len();
        let there = |m: &Machine| m.has(&m.listens);
        others.any(|other| {
            let found = other == at || there(&self.machines[other]);
            found && self.reach(at, other) && self.answers(other)
        })
    }
}

pub(crate) fn peer_url(machine: &Machine) -> String {
    crate::machine::url(machine.identity.address)
}
