//! All machines and their cluster, and one story about them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use machine_plan::turn::Purpose;

use crate::etcd::Cluster;
use crate::faults::Lost;
use crate::invariants::Breach;
use crate::machine::Machine;
use crate::schedule::{Event, Schedule, Step};

/// Rounds in which all must be one cluster once faults have ended, per machine and for all.
const ROUNDS: (usize, usize) = (20, 40);

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) machines: Vec<Machine>,
    pub(crate) cluster: Cluster,
    /// The first rule that was broken.
    breach: Option<Breach>,
    /// What was done, where somebody wants to read it.
    story: Option<Vec<String>>,
}

/// What has become of a schedule.
pub(crate) struct Outcome {
    pub(crate) breach: Option<Breach>,
    pub(crate) story: Vec<String>,
    /// Rounds that it took after the last fault.
    pub(crate) rounds: usize,
}

impl World {
    fn new(count: u8, apart: bool) -> Self {
        Self {
            machines: (0..count).map(|at| Machine::new(at, apart)).collect(),
            cluster: Cluster::default(),
            breach: None,
            story: None,
        }
    }

    /// That have found together with no fault at all.
    fn formed(count: u8, apart: bool) -> Self {
        type Formed = BTreeMap<(u8, bool), World>;
        thread_local! {
            static FORMED: RefCell<Formed> = const { RefCell::new(BTreeMap::new()) };
        }
        let kind = (count, apart);
        if let Some(world) = FORMED.with_borrow(|all| all.get(&kind).cloned()) {
            return world;
        }
        let mut world = Self::new(count, apart);
        world.bootstrap(0);
        world.settle();
        let formed = world.clone();
        FORMED.with_borrow_mut(|all| all.insert(kind, formed));
        world
    }

    /// The whole story.
    pub(crate) fn run(schedule: &Schedule, aloud: bool) -> Outcome {
        let mut world = match schedule.formed {
            true => Self::formed(schedule.machines, schedule.apart),
            false => {
                let mut world = Self::new(schedule.machines, schedule.apart);
                world.bootstrap(0);
                world
            }
        };
        world.story = aloud.then(Vec::new);
        for step in &schedule.steps {
            world.told(|| format!("  m{} {:?}", step.0, step.1));
            world.step(*step);
            world.check();
            if world.breach.is_some() {
                break;
            }
        }
        let rounds = match world.breach {
            None => world.settle(),
            Some(_) => 0,
        };
        Outcome {
            breach: world.breach,
            story: world.story.unwrap_or_default(),
            rounds,
        }
    }

    fn step(&mut self, (at, event): Step) {
        let at = usize::from(at);
        match event {
            Event::Round => self.round(false),
            Event::Turn => self.turn(at, false, None),
            Event::Killed(when, how) => self.turn(at, false, Some((when, how))),
            Event::Ask => self.ask(at),
            Event::Look => self.look(at, false),
            Event::Late => self.carry_out(at, false, None),
            Event::Blind => self.turn(at, true, None),
            Event::Arrives => self.arrives(at),
            Event::Tick => self.tick(at),
            Event::KillEtcd => self.kill_etcd(at),
            Event::KillApi => self.machines[at].api = None,
            Event::Power => self.power(at),
            Event::Side(mark) => self.side(at, mark),
            Event::Unite => self.unite(),
            Event::Slow => self.machines[at].slow = !self.machines[at].slow,
            Event::Clock(by) => self.machines[at].now += i64::from(by),
            Event::LoseEtcd => drop(self.lose(at, Lost::Etcd)),
            Event::LoseLedger => drop(self.lose(at, Lost::Ledger)),
            Event::LoseAll => drop(self.lose(at, Lost::All)),
            Event::Replace { name, address } => self.replace(at, name, address),
            Event::Twin(of) => self.twin(at, usize::from(of)),
            Event::Bootstrap => self.bootstrap(at),
            Event::Remove(place, force) => {
                let named = self.cluster.members.get(usize::from(place));
                if let Some(id) = named.map(|e| e.member.id) {
                    self.remove(at, id, force);
                }
            }
            Event::Reboot => self.go_down(at, Purpose::Reboot),
            Event::Shutdown => self.go_down(at, Purpose::Shutdown),
            Event::Apply => self.apply(at),
            Event::Move(keeps) => self.moves(at, keeps),
            Event::Leave => self.leave(at, false),
            Event::Discard => self.leave(at, true),
            Event::Obey => self.obey(at),
        }
    }

    fn round(&mut self, obeying: bool) {
        for at in 0..self.machines.len() {
            self.tick(at);
            self.turn(at, false, None);
            if obeying {
                self.obey(at);
            }
        }
    }

    /// All faults end, and whoever gives orders does what status says: then all become one cluster,
    /// within so many rounds.
    fn settle(&mut self) -> usize {
        self.told(|| "  faults end".to_owned());
        self.heal();
        let bound = ROUNDS.1 + ROUNDS.0 * self.machines.len();
        for rounds in 0..bound {
            if self.breach.is_some() || self.unfinished().is_none() {
                return rounds;
            }
            self.round(true);
            self.remove_the_gone(0);
            self.check();
        }
        if let Some(why) = self.unfinished() {
            self.broken("never one cluster", || why);
        }
        bound
    }

    /// Only the first counts.
    pub(crate) fn broken(&mut self, rule: &'static str, how: impl FnOnce() -> String) {
        if self.breach.is_none() {
            self.breach = Some(Breach { rule, how: how() });
        }
    }

    /// For whoever reads the story.
    pub(crate) fn told(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(what());
        }
    }
}
