use super::*;

/// By then whoever takes the address has it: three advertisements that did not come are 0.7 s.
const TAKEN: Duration = Duration::from_secs(2);

fn said(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < LATE, "nobody said {what} within {LATE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How long it took.
fn until(what: &str, machines: &[Machine; 2], so: impl Fn([bool; 2]) -> bool) -> Duration {
    let begun = Instant::now();
    loop {
        let held = [machines[0].holds(), machines[1].holds()];
        if so(held) {
            let took = begun.elapsed();
            println!("{what}: {} ms", took.as_millis());
            return took;
        }
        if begun.elapsed() > LATE {
            let logs = machines
                .each_ref()
                .map(|m| std::fs::read_to_string(&m.log).unwrap());
            panic!(
                "{what} did not happen within {LATE:?}: held {held:?}\n{}",
                logs.join("---\n")
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_ready_machine_holds_it_and_two_holders_become_one_when_they_hear_each_other() {
    for [card, own, peer, shared] in [
        ["lan", "10.9.0.1", "10.9.0.2", "10.9.0.100"],
        ["lan", "fd09::1", "fd09::2", "fd09::100"],
    ] {
        println!("{shared}");
        let [one, two] = std::array::from_fn(|_| Space::new());
        one.plug(
            card,
            ["10.9.0.1/24", "fd09::1/64"],
            &two,
            ["10.9.0.2/24", "fd09::2/64"],
        );
        let [own, peer, shared] = [own, peer, shared].map(|ip| ip.parse().unwrap());
        let machines = [
            Machine::new(one, card, own, peer, shared),
            Machine::new(two, "en0", peer, own, shared),
        ];
        // Nobody who is not ready holds it, for longer than another is waited for.
        said("each that it is not ready", || {
            machines.iter().all(|m| m.stood_back() > 0)
        });
        std::thread::sleep(TAKEN);
        assert_eq!(machines.each_ref().map(Machine::holds), [false, false]);

        machines[0].is_ready(true);
        until("the one that is ready holds it", &machines, |held| {
            held == [true, false]
        });
        machines[1].is_ready(true);
        machines[0].is_ready(false);
        until("it has moved", &machines, |held| held == [false, true]);
        // Nobody takes it back.
        let before = machines[0].stood_back();
        machines[0].is_ready(true);
        said("that it is ready", || machines[0].stood_back() > before);
        std::thread::sleep(TAKEN);
        assert_eq!(machines.each_ref().map(Machine::holds), [false, true]);

        machines[0].hears(false);
        until("both hold it, cut off from each other", &machines, |held| {
            held == [true, true]
        });
        machines[0].hears(true);
        until("two holders are one", &machines, |held| held[0] != held[1]);
        // And stay so.
        std::thread::sleep(TAKEN);
        let held = machines.each_ref().map(Machine::holds);
        assert!(held[0] != held[1], "{held:?}");
    }
}
