//! What happens, in which order: drawn from a seed, printed, run again.

use std::fmt;

/// Machines of a world, at most.
pub(crate) const MOST: u8 = 5;

/// How an agent ends in the middle of an effect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Death {
    /// Before anything has come of it.
    Before,
    /// Done, but not remembered.
    After,
    /// The request is on its way: it arrives later, or not at all.
    Underway,
}

/// One thing that happens to one machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Event {
    /// Everybody ticks and turns once.
    Round,
    /// Its agent looks and acts.
    Turn,
    /// The same, but it is killed at this effect.
    Killed(u8, Death),
    /// It asks for the members; the rest of its look is at the next `Look`, `Turn` or `Killed`.
    Ask,
    /// It looks, and acts on that only at the next `Late`.
    Look,
    /// It acts on what it saw then.
    Late,
    /// A turn in which nobody answered in time.
    Blind,
    /// A request of an agent that was killed arrives.
    Arrives,
    /// kubelet, etcd and the API server do what they do by themselves.
    Tick,
    /// etcd's process is killed.
    KillEtcd,
    /// The API server's.
    KillApi,
    /// Its power goes, or comes back.
    Power,
    /// It is cut off from all others, or with those of the same mark from the rest.
    Side(u8),
    /// The network is whole again, for everybody.
    Unite,
    /// Its disk is slow, or quick again: a start takes long.
    Slow,
    /// Its clock jumps.
    Clock(i32),
    /// etcd's data is lost, the ledger is not.
    LoseEtcd,
    /// The ledger is lost, etcd's data is not.
    LoseLedger,
    /// Everything is new.
    LoseAll,
    /// Another machine in its place: with another name, another address, or both.
    Replace { name: bool, address: bool },
    /// It is set up anew, by mistake under the name of that machine.
    Twin(u8),
    /// Somebody orders a bootstrap.
    Bootstrap,
    /// Somebody asks it to take out the member at this place of the list; by force also one that answers.
    Remove(u8, bool),
    /// Somebody orders a reboot, with the guard. It is done at its next tick.
    Reboot,
    /// The same of a shutdown.
    Shutdown,
    /// Somebody orders it to leave etcd.
    Leave,
    /// Somebody orders its member's data to be set aside.
    Discard,
    /// Another document is applied, that changes etcd's manifest.
    Apply,
    /// Another document is applied, that gives it another address; the last one stays there, or not.
    Move(bool),
    /// Somebody does what its status says is next.
    Obey,
}

use Event::*;

type Draw = fn(&mut Random) -> Event;

const DRAWS: [(u16, Draw); 30] = [
    (24, |_| Turn),
    (24, |_| Tick),
    (10, |_| Round),
    (8, |r| Killed(r.below(2), r.death())),
    (5, |_| Ask),
    (6, |_| Look),
    (6, |_| Late),
    (2, |_| Blind),
    (4, |_| Arrives),
    (2, |_| KillEtcd),
    (1, |_| KillApi),
    (4, |_| Power),
    (2, |r| Side(r.below(4))),
    (1, |_| Unite),
    (1, |_| Slow),
    (1, |r| {
        Clock(i32::from(r.below(200)) * 1_000_000 - 100_000_000)
    }),
    (3, |_| LoseEtcd),
    (2, |_| LoseLedger),
    (3, |_| LoseAll),
    (2, |r| Replace {
        name: r.below(2) == 0,
        address: r.below(2) == 0,
    }),
    (1, |r| Twin(r.below(MOST))),
    (2, |_| Bootstrap),
    (2, |r| Remove(r.below(MOST), r.below(2) == 0)),
    (2, |_| Reboot),
    (1, |_| Shutdown),
    (1, |_| Leave),
    (1, |_| Discard),
    (2, |_| Apply),
    (2, |r| Move(r.below(2) == 0)),
    (1, |_| Obey),
];

/// What happens to which machine.
pub(crate) type Step = (u8, Event);

/// A whole story.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// How many machines there are.
    pub(crate) machines: u8,
    /// Whether they are one cluster already when it begins.
    pub(crate) formed: bool,
    /// Whether they are of role `etcd`, and no control planes.
    pub(crate) apart: bool,
    /// What happens before all faults end.
    pub(crate) steps: Vec<Step>,
}

impl Schedule {
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut random = Random(seed);
        let machines = 1 + random.below(MOST);
        let formed = random.below(2) == 0;
        let length = 5 + random.below(60);
        let weights: u16 = DRAWS.iter().map(|(weight, _)| weight).sum();
        let step = |_| {
            let at = random.below(machines);
            let mut drawn = random.under(weights);
            let draw = DRAWS.iter().find(|(weight, _)| {
                let here = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                here
            });
            (at, draw.map_or(Tick, |(_, draw)| draw(&mut random)))
        };
        let steps = (0..length).map(step).collect();
        Self {
            machines,
            formed,
            apart: random.below(3) == 0,
            steps,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let as_what = if self.formed { "one cluster" } else { "new" };
        let of = if self.apart { " of role etcd" } else { "" };
        writeln!(f, "{} machines{of}, {as_what}", self.machines)?;
        for (at, event) in &self.steps {
            writeln!(f, "  m{at} {event:?}")?;
        }
        Ok(())
    }
}

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn under(&mut self, end: u16) -> u16 {
        u16::try_from(self.next() % u64::from(end)).unwrap_or_default()
    }

    fn below(&mut self, end: u8) -> u8 {
        u8::try_from(self.next() % u64::from(end)).unwrap_or_default()
    }

    fn death(&mut self) -> Death {
        match self.below(3) {
            0 => Death::Before,
            1 => Death::After,
            _ => Death::Underway,
        }
    }
}
