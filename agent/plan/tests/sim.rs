//! A model of several machines and the etcd cluster that they form, around the real planner. A
//! schedule is drawn from a seed: things happen to machines in any order, then all faults end, and
//! within a bounded number of rounds all must be one cluster.
//!
//! A third of the schedules is of machines of role `etcd`, whose members are units, which have no API
//! server, and which find each other by their documents' list.
//!
//! Modelled: etcd's membership with learners, logs that catch up, members that are heard of only after
//! they have begun, its strict check, and what it refuses to begin with; kubelet, the unit that every second
//! machine's member is, and the API server, as processes that take a while and are killed; the endpoint, which other members are found through.
//! Looks that are old when they are acted on, that are put together from an old list and a newer disk, or
//! in which nobody answered; agents killed before an effect, after it and while it is on its way; power,
//! partitions, slow disks, clocks that jump; etcd's data, the ledger or both lost; a machine replaced
//! under another name, another address or both, or set up by mistake under another's name. Orders:
//! bootstrap, removal of dead members and by force of live ones, leave and discard, reboot and shutdown
//! with their guard and a while before they are carried out, another document, another address with or
//! without the last one, and whatever `status` says is next. Members find each other where the list has
//! them: what they tell each other arrives as long as one of the two finds the other, as with etcd's own
//! streams and posts.
//!
//! Never: two clusters; the quorum lost, or risked by one more member, by our own act on what is so; two
//! machines away at once by our own act; a member that begins anew; a member taken out whose data is
//! there; a second learner asked for; a vote forgotten or remembered too soon; a learner, or another's
//! member, listed elsewhere. In the end: every machine a voter that remembers it, is listed where it is,
//! runs by the document accepted last and serves the API; nobody else a member; the order done; nobody's
//! turn.
//!
//! Not modelled, for decision 9 names them as what the planner alone cannot see to: bootstrap ordered on
//! two machines before either has begun; data discarded, or a leave ordered, while another machine has such
//! an order, or a member with data taken out by force meanwhile or while another's data is gone; a reboot,
//! or a changed manifest, while nobody answers. Nor a cluster whose majority is lost for good; a disk lost
//! while another voter is between two addresses; an address changed while a voter's data is gone, or the
//! last change is not done; etcd's directory emptied under an etcd of a machine whose ledger is lost; a
//! founder's data alone lost while its order is open and it has not yet seen itself in the list, though
//! others have joined; a founder taken out by force before it knows who it is; addresses of two machines
//! changed at once, or that of a learner whose ledger alone is lost; all others taken
//! out by force before a member has heard of its vote.
//!
//! `SIM_SEED=n` runs one schedule, and prints it as short as it can be if it goes wrong. `SIM_COUNT=n`
//! runs so many, from `SIM_FIRST` or from a seed that the clock gives.

#[path = "sim/agent.rs"]
mod agent;
#[path = "sim/etcd.rs"]
mod etcd;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/invariants.rs"]
mod invariants;
#[path = "sim/machine.rs"]
mod machine;
#[path = "sim/operator.rs"]
mod operator;
#[path = "sim/schedule.rs"]
mod schedule;
#[path = "sim/shrink.rs"]
mod shrink;
#[path = "sim/world.rs"]
mod world;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use schedule::Schedule;
use world::{Outcome, World};

/// Schedules of an ordinary run.
const SCHEDULES: u64 = 3_000;

/// Seeds that a thread takes at a time.
const CHUNK: u64 = 100;

fn number(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "which schedules are run is no input of a plan"
    )]
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={value}: a number is wanted")))
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long schedules are run is no input of a plan"
    )]
    Instant::now()
}

fn epoch() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "which schedules are run is no input of a plan"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Says how it went wrong, in as few steps as possible.
fn report(seed: u64) -> String {
    let found = Schedule::of_seed(seed);
    let rule = |s: &Schedule| World::run(s, false).breach.map(|b| b.rule);
    let broken = rule(&found);
    let least = shrink::shrunk(&found, |s| rule(s) == broken);
    let Outcome { breach, story, .. } = World::run(&least, true);
    let breach = breach.expect("it fails");
    let story: String = story.iter().map(|line| format!("{line}\n")).collect();
    format!(
        "seed {seed}: {}: {}\n{least}what was done:\n{story}\
         again: SIM_SEED={seed} cargo nextest run -p machine-plan --test sim --no-capture\n",
        breach.rule, breach.how
    )
}

#[test]
fn machines_become_one_cluster_whatever_happens_on_the_way() {
    if let Some(seed) = number("SIM_SEED") {
        let Outcome { breach, .. } = World::run(&Schedule::of_seed(seed), false);
        assert!(breach.is_none(), "{}", report(seed));
        return;
    }
    let wanted = number("SIM_COUNT");
    let drawn = || wanted.map_or(0, |_| epoch().as_secs() << 20);
    let first = number("SIM_FIRST").unwrap_or_else(drawn);
    let end = first + wanted.unwrap_or(SCHEDULES);
    println!("SIM_FIRST={first} SIM_COUNT={}", end - first);
    let begun = now();
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let most = AtomicU64::new(0);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let chunk = next.fetch_add(CHUNK, Ordering::Relaxed);
            if chunk >= end {
                break;
            }
            for seed in chunk..end.min(chunk + CHUNK) {
                let Outcome { breach, rounds, .. } = World::run(&Schedule::of_seed(seed), false);
                most.fetch_max(u64::try_from(rounds).unwrap_or_default(), Ordering::Relaxed);
                if breach.is_some() {
                    stop.store(true, Ordering::Relaxed);
                    return Some(seed);
                }
            }
        }
        None
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found: Vec<u64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().expect("a thread"));
        ended.flatten().collect()
    });
    let (run, seconds) = (
        next.into_inner().min(end) - first,
        begun.elapsed().as_secs_f64(),
    );
    let pace = run as f64 / seconds * 60.0;
    println!(
        "{run} schedules in {seconds:.1} s, {pace:.0} a minute; at most {} rounds to become one",
        most.into_inner()
    );
    if let Some(seed) = found.iter().min() {
        panic!("{}", report(*seed));
    }
}
