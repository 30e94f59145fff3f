//! The model: what etcd, kubelet and disks do, and what must never be.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use machine_config::{Bundle, MachineConfig};
use machine_plan::action::Action;
use machine_plan::desired::Desired;
use machine_plan::facts::HostFacts;
use machine_plan::files::RenderedFile;
use machine_plan::membership::{Member, MemberId, Membership, quorum};
use machine_plan::observed::{FileSeen, Observed, Probe};
use machine_plan::stages::{Stage, verdict};
use machine_plan::verdict::Verdict;

const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");

/// Machines of a world, at most.
pub(crate) const MOST: usize = 5;

/// How far a caught-up log is.
const LOG: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    None,
    Ordered,
    Done,
}

/// How a manifest tells etcd to begin.
#[derive(Clone)]
enum Told {
    New,
    /// With these peers.
    Existing(Vec<String>),
}

impl Told {
    fn of(file: &RenderedFile) -> Self {
        let text = file.content.expose();
        if !text.contains("--initial-cluster-state=existing") {
            return Self::New;
        }
        let word = text.split("--initial-cluster=").nth(1).expect("a peer");
        let word = word.lines().next().unwrap_or_default();
        let urls = word.split(',').filter_map(|pair| pair.split_once('='));
        Self::Existing(urls.map(|(_, url)| url.trim().to_owned()).collect())
    }
}

/// What is the same in every world.
struct Given {
    bundle: Bundle,
    facts: HostFacts,
    /// Of a machine that remembers no membership.
    desired: Arc<Desired>,
}

struct Machine {
    given: &'static Given,
    /// For the membership it remembers.
    desired: (Option<Membership>, Arc<Desired>),
    // Durable.
    order: Order,
    membership: Option<Membership>,
    /// The member whose data is here.
    data: Option<MemberId>,
    // Gone with the power.
    manifest: Option<(FileSeen, Told)>,
    running: bool,
    seen: Option<Vec<Action>>,
    // The world's.
    power: bool,
    network: bool,
}

/// One member as the cluster's own data has it, and its log.
struct Entry {
    member: Member,
    log: u64,
}

pub(crate) struct World {
    machines: Vec<Machine>,
    members: Vec<Entry>,
    /// Clusters that ever began.
    begun: usize,
    next: u64,
}

impl World {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            machines: (0..count).map(Machine::new).collect(),
            members: Vec::new(),
            begun: 0,
            next: 1,
        }
    }

    /// The order, refused as the machine API refuses it: with data here, or
    /// where the cluster answers. Who is cut off is not asked for one.
    pub(crate) fn bootstrap(&mut self, at: usize) {
        let machine = &self.machines[at];
        let ordered = self.machines.iter().any(|m| m.order == Order::Ordered);
        let free = machine.data.is_none() && machine.order == Order::None;
        if machine.power && machine.network && free && !ordered && self.begun == 0 {
            self.machines[at].order = Order::Ordered;
        }
    }

    pub(crate) fn power(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.power = !machine.power;
        machine.running = false;
        machine.manifest = None;
        machine.seen = None;
    }

    pub(crate) fn network(&mut self, at: usize) {
        self.machines[at].network = !self.machines[at].network;
    }

    /// A disk is only lost where the cluster outlives it: nobody joins a cluster that is dead. Before
    /// there is one, the order may be lost with it: somebody gives it again.
    pub(crate) fn wipe(&mut self, at: usize, all: bool) {
        let lost = self.machines[at].data;
        if self.members.iter().any(|e| Some(e.member.id) == lost) {
            let voters = self.members.iter().filter(|e| !e.member.learner);
            let (mut count, mut left) = (0, 0);
            for voter in voters {
                count += 1;
                let held = self
                    .machines
                    .iter()
                    .any(|m| m.data == Some(voter.member.id));
                left += usize::from(held && Some(voter.member.id) != lost);
            }
            if left < quorum(count) {
                return;
            }
        }
        let machine = &mut self.machines[at];
        machine.data = None;
        machine.running = false;
        machine.seen = None;
        // A disk is replaced with the machine off. Etcd's directory may also be emptied while kubelet
        // looks on and starts what the manifest says; not in the boot in which its member began, whose
        // manifest says how: no shell is there to do it.
        let alone = |told: &Told| matches!(told, Told::Existing(urls) if urls.len() == 1);
        if all
            || !machine
                .manifest
                .as_ref()
                .is_some_and(|(_, told)| alone(told))
        {
            machine.manifest = None;
        }
        if all {
            machine.membership = None;
            machine.order = Order::None;
        }
    }

    pub(crate) fn heal(&mut self) {
        for machine in &mut self.machines {
            machine.power = true;
            machine.network = true;
        }
        if self.begun == 0 && self.machines.iter().all(|m| m.order == Order::None) {
            self.machines[0].order = Order::Ordered;
        }
    }

    /// kubelet starts what has a manifest; etcd begins, goes on, or catches up.
    pub(crate) fn tick(&mut self, at: usize) {
        let quorate = self.quorate();
        let machine = &mut self.machines[at];
        let Some((_, told)) = machine.manifest.clone().filter(|_| machine.power) else {
            return;
        };
        if let Some(id) = machine.data {
            let known = self.members.iter_mut().find(|e| e.member.id == id);
            // Removed: etcd ends by itself, and is started in vain.
            machine.running = known.is_some();
            if let Some(entry) = known
                && machine.network
                && quorate
            {
                entry.log = LOG;
            }
            return;
        }
        let Told::Existing(mut told) = told else {
            // The first of a new cluster.
            self.begun += 1;
            let url = machine.desired.1.etcd_peer_url.clone();
            let id = MemberId(self.next);
            self.next += 1;
            machine.data = Some(id);
            machine.running = true;
            let name = machine.name();
            self.members = vec![entry(id, &name, url, false, LOG)];
            return;
        };
        let own_url = machine.desired.1.etcd_peer_url.clone();
        // It asks another member who they all are.
        if !(machine.network && quorate) || told.iter().all(|url| *url == own_url) {
            return;
        }
        let mut are: Vec<_> = self
            .members
            .iter()
            .flat_map(|e| e.member.peer_urls.clone())
            .collect();
        are.sort();
        told.sort();
        let url = &machine.desired.1.etcd_peer_url;
        let own = self
            .members
            .iter_mut()
            .find(|e| e.member.peer_urls.contains(url));
        let Some(own) = own.filter(|_| are == told) else {
            // etcd complains of the difference and ends.
            return;
        };
        assert!(
            own.member.name.is_empty(),
            "{url} begins anew as the member it was"
        );
        own.member.name = machine.name();
        own.log = 1;
        machine.data = Some(own.member.id);
        machine.running = true;
    }

    pub(crate) fn turn(&mut self, at: usize, dies_after: Option<usize>) {
        self.look(at);
        let Some(actions) = self.machines[at].seen.take() else {
            return;
        };
        for (index, action) in actions.iter().enumerate() {
            let dies = dies_after.is_some_and(|effects| index >= effects);
            // What it saw is what is only until its own first effect.
            if !self.act(at, action, dies, index == 0) || dies {
                return;
            }
        }
    }

    pub(crate) fn late(&mut self, at: usize) {
        for action in self.machines[at].seen.take().unwrap_or_default() {
            if !self.act(at, &action, false, false) {
                return;
            }
        }
    }

    pub(crate) fn look(&mut self, at: usize) {
        if !self.machines[at].power {
            return;
        }
        self.machines[at].render();
        let observed = self.observe(at);
        let desired = &self.machines[at].desired.1;
        let mut actions = Vec::new();
        for stage in [Stage::Etcd, Stage::Members] {
            match verdict(stage, desired, &observed, 0) {
                Some(Verdict::Act { actions: more }) => actions.extend(more),
                Some(Verdict::Settled) => {}
                // The other stage needs this one.
                _ => break,
            }
        }
        let machine = &mut self.machines[at];
        if machine.order == Order::Ordered && machine.running {
            machine.order = Order::Done;
        }
        machine.seen = Some(actions);
    }

    /// Whether it worked. One that dies in between has done the first half.
    fn act(&mut self, at: usize, action: &Action, dies: bool, fresh: bool) -> bool {
        let quorate = self.quorate() && self.machines[at].network;
        match action {
            Action::WriteFile { file } => {
                let machine = &mut self.machines[at];
                let seen = FileSeen {
                    digest: file.digest(),
                    mode: file.mode,
                };
                machine.manifest = Some((seen, Told::of(file)));
                true
            }
            Action::JoinEtcd { name, peer_url } => {
                if !quorate {
                    return false;
                }
                let here = |e: &Entry| e.member.peer_urls.contains(peer_url);
                if !self.members.iter().any(here) {
                    if self.members.iter().any(|e| e.member.learner) {
                        return false;
                    }
                    let id = MemberId(self.next);
                    self.next += 1;
                    self.members.push(entry(id, "", peer_url.clone(), true, 0));
                }
                if !dies {
                    let listed = self.listed();
                    let own = self
                        .members
                        .iter()
                        .find(|e| here(e))
                        .expect("just added")
                        .member
                        .id;
                    self.machines[at].membership = Some(Membership::of(&listed, own, name, false));
                }
                true
            }
            Action::KeepMembership { membership } => {
                if !dies {
                    self.machines[at].membership = Some(membership.clone());
                }
                true
            }
            Action::PromoteMember { id, .. } => {
                let runs = self.runs(*id);
                let caught_up = self
                    .members
                    .iter()
                    .any(|e| e.member.id == *id && e.log == LOG);
                assert!(
                    !fresh || !quorate || caught_up || self.voter(*id),
                    "promoted early"
                );
                let learner = self.members.iter_mut().find(|e| e.member.id == *id);
                let Some(learner) = learner.filter(|e| quorate && runs && e.log == LOG) else {
                    return false;
                };
                learner.member.learner = false;
                true
            }
            Action::RemoveMember { id, .. } => {
                let outlives = self.outlives(*id);
                assert!(
                    !fresh || !quorate || outlives,
                    "a removal that costs the quorum"
                );
                assert!(!fresh || !self.runs(*id), "a member that runs is taken out");
                if !quorate || !outlives {
                    return false;
                }
                self.members.retain(|e| e.member.id != *id);
                true
            }
            other => panic!("no business of etcd: {other}"),
        }
    }

    /// What must hold at any moment.
    pub(crate) fn check(&self) {
        assert!(self.begun <= 1, "a second cluster has begun");
        let learners = self.members.iter().filter(|e| e.member.learner).count();
        assert!(learners <= 1, "{learners} learners");
    }

    /// Whether there is nothing left to wait for.
    pub(crate) fn is_one(&self) -> bool {
        let own = |m: &Machine| self.members.iter().find(|e| Some(e.member.id) == m.data);
        let voters = self.machines.iter().filter_map(own);
        let running = self.machines.iter().all(|m| m.running);
        running && voters.filter(|e| !e.member.learner).count() == self.machines.len()
    }

    /// What must come in the end.
    pub(crate) fn must_be_one(&self) {
        assert_eq!(self.begun, 1);
        assert_eq!(
            self.members.len(),
            self.machines.len(),
            "{:?}",
            self.listed()
        );
        for machine in &self.machines {
            let own = self
                .members
                .iter()
                .find(|e| Some(e.member.id) == machine.data);
            let own = own
                .unwrap_or_else(|| panic!("{} is no member: {:?}", machine.name(), self.listed()));
            assert!(!own.member.learner && machine.running, "{:?}", own.member);
        }
    }

    fn observe(&self, at: usize) -> Observed {
        let machine = &self.machines[at];
        let own_only =
            machine.data.is_some() && machine.membership.as_ref().is_none_or(|m| m.voter);
        let voter = |m: &Machine| {
            let own = self.members.iter().find(|e| Some(e.member.id) == m.data);
            m.running && m.power && own.is_some_and(|e| !e.member.learner)
        };
        let asked = |(index, m): (usize, &Machine)| match own_only {
            true => index == at && voter(m),
            false => index != at && m.network && machine.network && voter(m),
        };
        let mut others = self.machines.iter().enumerate();
        let members = match others.any(asked) {
            true => Probe::Seen(self.listed()),
            // Who founds a cluster asks nobody; who is alone knows nobody.
            false if self.begun == 0 || machine.order == Order::Ordered => Probe::Absent,
            false => Probe::Unreadable("nobody answers".to_owned()),
        };
        let path = machine
            .desired
            .1
            .etcd
            .as_ref()
            .expect("a control plane has etcd")
            .path
            .clone();
        let manifest = machine
            .manifest
            .as_ref()
            .map_or(Probe::Absent, |(seen, _)| Probe::Seen(seen.clone()));
        Observed {
            etcd_data: machine.data.map_or(Probe::Absent, |_| Probe::Seen(())),
            membership: machine
                .membership
                .clone()
                .map_or(Probe::Absent, Probe::Seen),
            members,
            bootstrap_ordered: machine.order == Order::Ordered,
            bootstrap_done: machine.order == Order::Done,
            files: BTreeMap::from([(path, manifest)]),
            ..Observed::default()
        }
    }

    fn listed(&self) -> Vec<Member> {
        let member = |entry: &Entry| Member {
            applied: match self.runs(entry.member.id) {
                true => Probe::Seen(entry.log),
                false => Probe::Unreadable("no answer".to_owned()),
            },
            ..entry.member.clone()
        };
        self.members.iter().map(member).collect()
    }

    fn runs(&self, id: MemberId) -> bool {
        let runs = |m: &Machine| m.data == Some(id) && m.running && m.power && m.network;
        self.machines.iter().any(runs)
    }

    fn voter(&self, id: MemberId) -> bool {
        self.members
            .iter()
            .any(|e| e.member.id == id && !e.member.learner)
    }

    fn quorate(&self) -> bool {
        let voters: Vec<_> = self.members.iter().filter(|e| !e.member.learner).collect();
        let run = voters.iter().filter(|e| self.runs(e.member.id)).count();
        run >= quorum(voters.len())
    }

    // etcd's strict reconfiguration check.
    fn outlives(&self, id: MemberId) -> bool {
        let rest = self
            .members
            .iter()
            .filter(|e| e.member.id != id && !e.member.learner);
        let (mut count, mut run) = (0, 0);
        for voter in rest {
            count += 1;
            run += usize::from(self.runs(voter.member.id));
        }
        count > 0 && run >= quorum(count)
    }
}

/// Documents are slow to read: once is enough.
fn given(index: usize) -> &'static Given {
    static ALL: OnceLock<Vec<Given>> = OnceLock::new();
    let make = |index: usize| {
        let document = DOCUMENT.replace("hostname: w1", &format!("hostname: cp{}", index + 1));
        let bundle = machine_config::read(document.as_bytes()).expect("a valid document");
        let address = format!("192.0.2.{}", index + 1)
            .parse()
            .expect("an address");
        let facts = HostFacts::at(address);
        let desired = Arc::new(desired(&bundle, &facts, None));
        Given {
            bundle,
            facts,
            desired,
        }
    };
    &ALL.get_or_init(|| (0..MOST).map(make).collect())[index]
}

impl Machine {
    fn new(index: usize) -> Self {
        let given = given(index);
        Self {
            given,
            desired: (None, Arc::clone(&given.desired)),
            order: Order::None,
            membership: None,
            data: None,
            manifest: None,
            running: false,
            seen: None,
            power: true,
            network: true,
        }
    }

    fn render(&mut self) {
        if self.desired.0 != self.membership {
            let Given { bundle, facts, .. } = self.given;
            let desired = match &self.membership {
                Some(joined) => Arc::new(desired(bundle, facts, Some(joined))),
                None => Arc::clone(&self.given.desired),
            };
            self.desired = (self.membership.clone(), desired);
        }
    }

    fn name(&self) -> String {
        let config: &MachineConfig = &self.given.bundle.config;
        config.hostname().to_string()
    }
}

fn desired(bundle: &Bundle, facts: &HostFacts, joined: Option<&Membership>) -> Desired {
    let secrets = bundle.secrets.as_ref().expect("secrets");
    Desired::new(&bundle.config, secrets, facts, None, joined)
}

fn entry(id: MemberId, name: &str, url: String, learner: bool, log: u64) -> Entry {
    let member = Member {
        id,
        name: name.to_owned(),
        peer_urls: vec![url],
        learner,
        leader: false,
        applied: Probe::Absent,
    };
    Entry { member, log }
}
