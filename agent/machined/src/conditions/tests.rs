use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use machine_plan::desired::ETCD;
use machine_plan::observed::{Observed, Probe, Room, UnitSeen};

use super::*;
use crate::clock;
use crate::status::{Board, StageStatus};

const DOCUMENT: &str = include_str!("../../../../docs/operations/conditions.md");

#[test]
fn every_word_is_stable_in_shape_and_documented() {
    let mut words: Vec<_> = Kind::ALL.iter().map(|kind| kind.word()).collect();
    for word in &words {
        assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        assert!(DOCUMENT.contains(&format!("| `{word}` |")), "{word}");
    }
    assert_eq!(DOCUMENT.matches("\n| `").count(), words.len());
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Kind::ALL.len());
}

fn look<'a>(observed: &'a Observed, change: impl FnOnce(&mut Look<'a>)) -> Vec<Condition> {
    let mut look = Look {
        observed,
        stages: &[],
        unreadable: &[],
        unwritable: None,
        loops: &[],
        etcd_silent: None,
        clock: Box::leak(Box::<clock::View>::default()),
        before: &[],
    };
    change(&mut look);
    of(&look)
}

fn kinds(found: &[Condition]) -> Vec<Kind> {
    found.iter().map(|condition| condition.kind).collect()
}

#[test]
fn a_well_machine_has_none() {
    let room = Room {
        bytes: 10 << 30,
        free_bytes: 5 << 30,
        free_files: Some(1_000_000),
    };
    let observed = Observed {
        file_systems: BTreeMap::from([("/var".to_owned(), Probe::Seen(room))]),
        etcd_health: Probe::Seen(()),
        units: BTreeMap::from([(
            "kubelet.service".to_owned(),
            Probe::Seen(UnitSeen::default()),
        )]),
        ..Observed::default()
    };
    assert_eq!(look(&observed, |_| {}), []);
}

#[test]
fn room_has_a_threshold_that_does_not_flap() {
    let room = |bytes, free_bytes, free_files| Room {
        bytes,
        free_bytes,
        free_files,
    };
    let (mib, gib) = (1 << 20, 1 << 30);
    assert_eq!(short_of(&room(100 * gib, 100 * mib, None), false), None);
    assert!(short_of(&room(100 * gib, 99 * mib, None), false).is_some());
    // Once it was full it takes twice as much.
    assert!(short_of(&room(100 * gib, 199 * mib, None), true).is_some());
    assert_eq!(short_of(&room(100 * gib, 200 * mib, None), true), None);
    // A small one is measured by its size.
    assert_eq!(short_of(&room(gib, 40 * mib, None), false), None);
    assert!(short_of(&room(gib, 20 * mib, None), false).is_some());
    let few = short_of(&room(gib, gib, Some(10)), false);
    assert_eq!(few.as_deref(), Some("room for 10 more files"));
}

#[test]
fn errors_of_a_full_disk_are_told_from_others() {
    let stages = ["28", "30", "13"].map(|number| StageStatus {
        name: "certs",
        verdict: "failed",
        message: format!("cannot write /x: words of the day (os error {number})"),
    });
    let observed = Observed::default();
    let found = look(&observed, |look| look.stages = &stages);
    assert_eq!(
        kinds(&found),
        [Kind::DiskFull, Kind::DiskReadOnly, Kind::StageFailed]
    );
    let full = "ledger: cannot write /l: No space left on device (os error 28)";
    let found = look(&Observed::default(), |look| look.unwritable = Some(full));
    assert_eq!(kinds(&found), [Kind::DiskFull]);
}

#[test]
fn rules_that_are_not_loaded_have_a_name_of_their_own() {
    let failed = |name| StageStatus {
        name,
        verdict: "failed",
        message: "cannot reload machined-firewall.service: the job's result is failed".to_owned(),
    };
    let stages = [failed("firewall"), failed("host")];
    let observed = Observed::default();
    let found = look(&observed, |look| look.stages = &stages);
    assert_eq!(kinds(&found), [Kind::FirewallNotLoaded, Kind::StageFailed]);
}

#[test]
fn etcds_silence_has_patience_and_a_name_of_its_own() {
    let sick = Observed {
        etcd_health: Probe::Unreadable("HTTP/1.0 503".to_owned()),
        ..Observed::default()
    };
    let after = |seconds| {
        let silent = Some(Duration::from_secs(seconds));
        look(&sick, |look| look.etcd_silent = silent)
    };
    assert_eq!(kinds(&after(59)), []);
    assert_eq!(kinds(&after(60)), [Kind::EtcdDown]);
    assert!(after(60)[0].message.contains("503"));
    assert!(after(60)[0].next_step.contains("machinectl logs kubelet"));
    let unit = (ETCD.to_owned(), Probe::Seen(UnitSeen::default()));
    let sick = Observed {
        units: BTreeMap::from([unit]),
        ..sick.clone()
    };
    let minute = Some(Duration::from_secs(60));
    let found = look(&sick, |look| look.etcd_silent = minute);
    assert!(found[0].next_step.contains("machinectl logs etcd"));
}

#[test]
fn a_silent_bus_is_one_condition_however_many_units_it_hides() {
    let silent = || Probe::Unreadable("broken pipe".to_owned());
    let units = ["a.service", "b.service"].map(|name| (name.to_owned(), silent()));
    let observed = Observed {
        units: units.into(),
        ..Observed::default()
    };
    let found = look(&observed, |_| {});
    assert_eq!(kinds(&found), [Kind::BusAway]);
    assert!(found[0].message.contains("broken pipe"));
}

#[test]
fn a_crash_loop_quotes_its_log_and_its_result() {
    let observed = Observed::default();
    let looping = |name: &str, end: Option<&str>, log: &[&str]| Looping {
        name: name.to_owned(),
        restarts: 7,
        end: end.map(str::to_owned),
        log: log.iter().map(|line| (*line).to_owned()).collect(),
    };
    let loops = [
        looping("kubelet.service", Some("exit-code (status 1)"), &["F no"]),
        looping("etcd", None, &[]),
    ];
    let found = look(&observed, |look| look.loops = &loops);
    assert_eq!(kinds(&found), [Kind::UnitCrashLoop, Kind::PodCrashLoop]);
    assert_eq!(
        found[0].message,
        "7 restarts, last result exit-code (status 1)"
    );
    assert_eq!(found[0].log, ["F no"]);
    assert!(found[0].next_step.contains("logs kubelet.service"));
    assert!(found[0].appears().ends_with("\nmachined:   | F no"));
}

fn seen(restarts: u32, up: bool) -> Seen {
    Seen {
        restarts,
        up,
        calm: Duration::from_secs(60),
    }
}

#[test]
fn a_loop_is_seen_also_while_it_happens_to_run_and_is_over_when_it_stays_up() {
    let mut crashes = Crashes::default();
    let mut at = |seconds, restarts, up| {
        let now = Duration::from_secs(seconds);
        crashes.note("kubelet.service", seen(restarts, up), now)
    };
    assert_eq!(at(0, 0, true), None);
    assert_eq!(at(5, 1, true), None);
    assert_eq!(at(10, 2, false), None);
    assert_eq!(at(15, 3, true).unwrap().recent, 3);
    assert!(at(74, 3, true).is_some(), "not calm for a minute yet");
    assert_eq!(at(75, 3, true), None);
    assert!(at(80, 4, true).is_some(), "it is the same loop");
}

#[test]
fn a_start_on_purpose_ends_a_loop_at_once() {
    let mut crashes = Crashes::default();
    let mut at =
        |seconds, restarts, up| crashes.note("x", seen(restarts, up), Duration::from_secs(seconds));
    // An agent that starts into a loop sees it where the unit is down.
    assert_eq!(at(0, 40, true), None);
    assert!(at(1, 40, false).is_some());
    assert_eq!(at(2, 0, true), None);
    // Rare restarts are no loop.
    assert_eq!(at(1000, 1, true), None);
    assert_eq!(at(2000, 2, true), None);
    assert_eq!(at(3000, 3, true), None);
}

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn a_condition_is_said_once_when_it_comes_and_once_when_it_goes() {
    let board = Board::with_console(|text| SAID.lock().unwrap().push(text.to_owned()));
    let full = |message: &str| Condition::new(Kind::DiskFull, "/var", message);
    let other = Condition::new(Kind::BusAway, "system bus", "away");
    board.wrong(Source::Look, vec![full("9 MiB")]);
    let since = board.conditions()[0].since_ms;
    assert!(since > 0);
    board.wrong(Source::Look, vec![full("8 MiB"), other]);
    // What another source finds is its own business.
    board.wrong(Source::Audit, Vec::new());
    let now = board.conditions();
    assert_eq!((now.len(), now[0].since_ms), (2, since));
    assert_eq!(now[0].message, "8 MiB");
    board.wrong(Source::Look, Vec::new());
    assert_eq!(board.conditions(), []);
    let said = SAID.lock().unwrap().join("\n");
    assert_eq!(said.matches("disk-full /var: 9 MiB").count(), 1);
    assert_eq!(said.matches("disk-full /var").count(), 2);
    assert!(said.contains("machined: disk-full /var is over"));
    let (events, _) = board.events_from(0);
    let of_disk = events.iter().filter(|event| event.object == "/var");
    let told: Vec<_> = of_disk.map(|event| event.message.as_str()).collect();
    assert_eq!(told, ["disk-full: 9 MiB", "disk-full: over"]);
}
