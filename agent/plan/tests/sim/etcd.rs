//! etcd, kubelet and the API server, as they behave by themselves.

use machine_plan::membership::{Member, MemberId, quorum};
use machine_plan::observed::Probe;
use machine_plan::turn::{Turn, TurnSeen};

use crate::machine::{Process, Told};
use crate::world::World;

/// How far a caught-up log is.
pub(crate) const LOG: u64 = 100;

/// How much of it comes in a tick.
const PACE: u64 = 35;

/// Seconds that a tick takes.
const TICK: i64 = 15;

/// One member as the cluster's own data has it, and its log.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) member: Member,
    pub(crate) log: u64,
    /// Whether it ever had data. Its name is known only later, when it is heard by the others.
    pub(crate) begun: bool,
}

/// The cluster that the majority of its voters agrees on.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    pub(crate) members: Vec<Entry>,
    /// Clusters that began and are not lost as a whole.
    pub(crate) begun: u8,
    /// Ids that were given.
    pub(crate) ids: u64,
    /// Whose turn it is.
    pub(crate) turn: Option<TurnSeen>,
    /// How often that has changed.
    pub(crate) revision: i64,
}

impl Cluster {
    pub(crate) fn find(&self, id: MemberId) -> Option<&Entry> {
        self.members.iter().find(|e| e.member.id == id)
    }

    pub(crate) fn at(&self, peer_url: &str) -> Option<&Entry> {
        let here = |e: &&Entry| e.member.peer_urls[0] == peer_url;
        self.members.iter().find(here)
    }

    pub(crate) fn voters(&self) -> impl Iterator<Item = MemberId> + '_ {
        let voters = self.members.iter().filter(|e| !e.member.learner);
        voters.map(|e| e.member.id)
    }

    pub(crate) fn votes(&self, id: MemberId) -> bool {
        self.voters().any(|voter| voter == id)
    }

    /// Whether it is one that is listed.
    pub(crate) fn list_at(&mut self, id: MemberId, peer_url: &str) -> bool {
        let mut entries = self.members.iter_mut();
        let Some(entry) = entries.find(|e| e.member.id == id) else {
            return false;
        };
        entry.member.peer_urls = vec![peer_url.to_owned()];
        self.sort();
        true
    }

    // Their order says nothing: that fewer orders occur makes what is rendered fewer, too.
    fn sort(&mut self) {
        self.members
            .sort_by(|a, b| a.member.peer_urls.cmp(&b.member.peer_urls));
    }

    pub(crate) fn learner(&self) -> Option<&Entry> {
        self.members.iter().find(|e| e.member.learner)
    }

    pub(crate) fn whose_turn(&self) -> Probe<TurnSeen> {
        self.turn.clone().map_or(Probe::Absent, Probe::Seen)
    }

    /// Whether it is the taker's now: only in the place of what was seen.
    pub(crate) fn take_turn(&mut self, turn: &Turn, over: Option<&TurnSeen>) -> bool {
        let there = self.turn.as_ref();
        if there.map(|seen| seen.revision) != over.map(|seen| seen.revision) {
            return there.is_some_and(|seen| seen.turn == *turn);
        }
        self.revision += 1;
        self.turn = Some(TurnSeen {
            turn: turn.clone(),
            revision: self.revision,
        });
        true
    }

    /// A new member that was not heard of yet.
    pub(crate) fn add(&mut self, peer_url: &str, learner: bool) -> &mut Entry {
        self.ids += 1;
        let member = Member {
            id: MemberId(self.ids),
            name: String::new(),
            peer_urls: vec![peer_url.to_owned()],
            learner,
            leader: false,
            applied: Probe::Absent,
        };
        let (log, begun) = (0, false);
        self.members.push(Entry { member, log, begun });
        self.sort();
        let here = |e: &&mut Entry| e.member.peer_urls[0] == peer_url;
        self.members.iter_mut().find(here).expect("just added")
    }
}

impl World {
    pub(crate) fn reach(&self, from: usize, to: usize) -> bool {
        from == to || self.machines[from].side == self.machines[to].side
    }

    /// Whether its member is where the cluster lists it, so that others can dial it.
    pub(crate) fn found(&self, at: usize) -> bool {
        let machine = &self.machines[at];
        let Process::Up(id) = machine.etcd else {
            return false;
        };
        let listed = self.cluster.find(id);
        let url = listed.map_or("", |e| &e.member.peer_urls[0]);
        machine.listens == url && machine.has(url)
    }

    /// Whether what members tell each other arrives: one of the two has to find the other.
    fn linked(&self, from: usize, to: usize) -> bool {
        self.reach(from, to) && (from == to || self.found(from) || self.found(to))
    }

    /// Where this member's process runs.
    pub(crate) fn runner(&self, id: MemberId) -> Option<usize> {
        let runs = Process::Up(id);
        self.machines.iter().position(|m| m.etcd == runs)
    }

    /// Where this member serves clients: not before the others have heard its name.
    pub(crate) fn server(&self, id: MemberId) -> Option<usize> {
        let entry = self.cluster.find(id)?;
        self.runner(id).filter(|_| !entry.member.name.is_empty())
    }

    /// How many of these run within reach.
    pub(crate) fn running(&self, from: usize, ids: impl Iterator<Item = MemberId>) -> usize {
        let runs = |id: &MemberId| self.runner(*id).is_some_and(|at| self.linked(from, at));
        ids.filter(runs).count()
    }

    /// Whether the voters within reach are enough to change anything.
    pub(crate) fn quorate(&self, from: usize) -> bool {
        let voters = self.cluster.voters().count();
        voters > 0 && self.running(from, self.cluster.voters()) >= quorum(voters)
    }

    /// Whether the rest of the voters would be enough among themselves.
    pub(crate) fn outlives(&self, from: usize, id: MemberId) -> bool {
        let rest = || self.cluster.voters().filter(move |other| *other != id);
        let count = rest().count();
        count > 0 && self.running(from, rest()) >= quorum(count)
    }

    /// Whether a voter that has the majority's word serves there.
    pub(crate) fn answers(&self, at: usize) -> bool {
        let Process::Up(id) = self.machines[at].etcd else {
            return false;
        };
        self.cluster.votes(id) && self.quorate(at)
    }

    /// All members, and who of them answers whoever asks from here.
    pub(crate) fn listed(&self, from: usize) -> Vec<Member> {
        let member = |entry: &Entry| {
            let at = self.server(entry.member.id);
            Member {
                applied: match at
                    .filter(|at| from == *at || self.found(*at) && self.reach(from, *at))
                {
                    Some(_) => Probe::Seen(entry.log),
                    None => Probe::Unreadable(String::new()),
                },
                ..entry.member.clone()
            }
        };
        self.cluster.members.iter().map(member).collect()
    }

    /// Whether this machine's API server is ready, where it should have one: it is not without etcd.
    pub(crate) fn api_ready(&self, at: usize) -> bool {
        let machine = &self.machines[at];
        (machine.api == Some(0) || machine.identity.apart) && self.answers(at)
    }

    /// Whether the cluster's endpoint leads to an API server.
    pub(crate) fn endpoint(&self, from: usize) -> bool {
        let ready = |at: &usize| self.reach(from, *at) && self.api_ready(*at);
        (0..self.machines.len()).any(|at| ready(&at))
    }

    /// kubelet starts what has a manifest; etcd begins, goes on, or catches up.
    pub(crate) fn tick(&mut self, at: usize) {
        self.machines[at].now += TICK;
        self.goes_down(at);
        let machine = &mut self.machines[at];
        if !machine.power {
            return;
        }
        if machine.api_manifest.is_some() {
            let start = machine.start();
            machine.api = Some(machine.api.map_or(start, |left| left.saturating_sub(1)));
        } else {
            machine.api = None;
        }
        if machine.manifest.is_none() {
            machine.etcd = Process::Down;
            return;
        }
        match machine.etcd {
            Process::Down => machine.etcd = Process::Starting(machine.start()),
            Process::Starting(0) => self.start(at),
            Process::Starting(left) => machine.etcd = Process::Starting(left - 1),
            Process::Up(id) => self.go_on(at, id),
        }
    }

    fn start(&mut self, at: usize) {
        let machine = &self.machines[at];
        let manifest = machine.manifest.as_ref().expect("started by it");
        let listens = manifest.at.clone();
        let began = match (machine.data, &manifest.told) {
            // It cannot listen where its machine is no more.
            _ if !machine.has(&listens) => None,
            // One that was removed ends by itself, and is started in vain.
            (Some(id), _) => self.cluster.find(id).map(|_| id),
            (None, Told::New) => Some(self.begin_cluster(at, &listens)),
            (None, Told::Existing(peers)) => {
                let peers = peers.clone();
                self.begin_member(at, &listens, &peers)
            }
        };
        let machine = &mut self.machines[at];
        // As somebody new: who it was is away for good, by whatever took its data.
        machine.away &= machine.data.is_some();
        machine.listens = listens;
        machine.etcd = match began {
            Some(id) => Process::Up(id),
            None => Process::Starting(machine.start()),
        };
        machine.data = machine.data.or(began);
    }

    fn begin_cluster(&mut self, at: usize, url: &str) -> MemberId {
        let name = self.machines[at].name();
        self.cluster.begun += 1;
        if self.cluster.begun > 1 {
            self.broken("a second cluster", || format!("begins on m{at}"));
            return MemberId(0);
        }
        self.told(|| format!("    m{at}: a new cluster"));
        self.cluster.members.clear();
        let first = self.cluster.add(url, false);
        first.member.name = name;
        first.log = LOG;
        first.begun = true;
        first.member.id
    }

    // It asks another member who they all are, and begins only as one of just those.
    fn begin_member(&mut self, at: usize, url: &str, peers: &[String]) -> Option<MemberId> {
        let told = |id: MemberId| {
            let known = self.cluster.find(id);
            known.is_some_and(|e| {
                e.member.peer_urls[0] != url && peers.contains(&e.member.peer_urls[0])
            })
        };
        let asked = |m: &crate::machine::Machine| matches!(m.etcd, Process::Up(id) if told(id));
        let mut others = 0..self.machines.len();
        let near = |o: &usize| *o != at && self.reach(at, *o) && self.found(*o);
        let heard = others.any(|o| near(&o) && asked(&self.machines[o]));
        // They are sorted, here and there.
        let are = self.cluster.members.iter().map(|e| &e.member.peer_urls[0]);
        if !heard || !self.quorate(at) || !are.eq(peers) {
            return None;
        }
        let entries = self.cluster.members.iter_mut();
        let own = entries.into_iter().find(|e| e.member.peer_urls[0] == url)?;
        let (id, before) = (own.member.id, own.begun);
        own.begun = true;
        own.log = 1;
        self.told(|| format!("    m{at}: begins as {id}"));
        if before {
            self.broken("an identity twice", || {
                format!("m{at} begins anew as {id}, which had begun")
            });
        }
        Some(id)
    }

    fn go_on(&mut self, at: usize, id: MemberId) {
        if !self.quorate(at) {
            return;
        }
        let name = self.machines[at].name();
        let mut entries = self.cluster.members.iter_mut();
        let Some(entry) = entries.find(|e| e.member.id == id) else {
            self.machines[at].etcd = Process::Down;
            return;
        };
        match entry.member.name == name {
            true => entry.log = LOG.min(entry.log + PACE),
            false => entry.member.name = name,
        }
    }
}
