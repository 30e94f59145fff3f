//! A model of several machines and the etcd cluster that they form, around the
//! real planner: looks may be old, effects lost, agents killed between two
//! effects, machines off, cut off or without their disks, in any order. What
//! is found is shrunk and printed as the shortest list of events that does it.
//!
//! `PROPTEST_CASES=100000 cargo test --release -p machine-plan --test sim` runs more.

#[path = "sim/world.rs"]
mod world;

use proptest::prelude::*;
use world::{MOST, World};

/// One thing that happens to one machine.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Its agent looks and acts; from this effect on nothing happens any more.
    Turn { dies_after: Option<u8> },
    /// Its agent looks, and acts on that only at the next `Late`.
    Look,
    /// It acts on what it saw then.
    Late,
    /// kubelet and etcd do what they do by themselves.
    Tick,
    /// Its power goes, or comes back.
    Power,
    /// The network goes, or comes back.
    Network,
    /// etcd's disk is new.
    WipeEtcd,
    /// Everything is new.
    WipeAll,
    /// Somebody orders a bootstrap.
    Bootstrap,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => proptest::option::weighted(0.3, 0..3_u8).prop_map(|dies_after| Event::Turn { dies_after }),
        2 => Just(Event::Look),
        2 => Just(Event::Late),
        8 => Just(Event::Tick),
        1 => Just(Event::Power),
        1 => Just(Event::Network),
        1 => Just(Event::WipeEtcd),
        1 => Just(Event::WipeAll),
        1 => Just(Event::Bootstrap),
    ]
}

fn schedule() -> impl Strategy<Value = (usize, Vec<(usize, Event)>)> {
    (1..=MOST).prop_flat_map(|machines| {
        let events = proptest::collection::vec((0..machines, event()), 0..120);
        (Just(machines), events)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn machines_become_one_cluster_whatever_happens_on_the_way((machines, events) in schedule()) {
        let mut world = World::new(machines);
        world.bootstrap(0);
        for (machine, event) in events {
            match event {
                Event::Turn { dies_after } => world.turn(machine, dies_after.map(usize::from)),
                Event::Look => world.look(machine),
                Event::Late => world.late(machine),
                Event::Tick => world.tick(machine),
                Event::Power => world.power(machine),
                Event::Network => world.network(machine),
                Event::WipeEtcd => world.wipe(machine, false),
                Event::WipeAll => world.wipe(machine, true),
                Event::Bootstrap => world.bootstrap(machine),
            }
            world.check();
        }
        world.heal();
        let mut rounds = 0;
        while !world.is_one() && rounds < 40 * machines {
            rounds += 1;
            for machine in 0..machines {
                world.tick(machine);
                world.turn(machine, None);
                world.check();
            }
        }
        world.must_be_one();
    }
}
