//! The shortest story that still goes wrong in the same way.

use crate::schedule::Schedule;

/// Leaves out steps, many at once and then one by one, and machines that none of the rest names, for
/// as long as it still fails.
pub(crate) fn shrunk(found: &Schedule, fails: impl Fn(&Schedule) -> bool) -> Schedule {
    let mut best = found.clone();
    let mut length = best.steps.len().max(1);
    loop {
        let before = best.steps.len();
        let mut from = 0;
        while from < best.steps.len() {
            let mut fewer = best.clone();
            let to = (from + length).min(fewer.steps.len());
            fewer.steps.drain(from..to);
            match fails(&fewer) {
                true => best = fewer,
                false => from += length,
            }
        }
        // Once more with single steps for as long as that takes anything away.
        if length == 1 && best.steps.len() == before {
            break;
        }
        length = (length / 2).max(1);
    }
    for machines in 1..best.machines {
        let named = best.steps.iter().all(|(at, _)| *at < machines);
        let fewer = Schedule {
            machines,
            ..best.clone()
        };
        if named && fails(&fewer) {
            return fewer;
        }
    }
    best
}

#[test]
fn only_what_is_needed_stays() {
    use crate::schedule::Event;
    let steps = (0..40).map(|n| (n % 4, Event::Side(n))).collect();
    let found = Schedule {
        machines: 5,
        formed: false,
        apart: false,
        steps,
    };
    let needed = [(1, Event::Side(5)), (2, Event::Side(30))];
    let least = shrunk(&found, |s| needed.iter().all(|step| s.steps.contains(step)));
    assert_eq!((least.machines, least.steps), (3, needed.to_vec()));
}
