use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::durable;

/// A boot that can be ended and a clock that can be moved.
#[derive(Clone, Default)]
struct World(Arc<(AtomicU64, AtomicU64)>);

impl World {
    fn clock(&self) -> impl Fn() -> Now + Send + Sync + 'static {
        let world = self.0.clone();
        move || Now {
            boot_id: format!("boot-{}", world.0.load(Ordering::SeqCst)),
            boottime_ms: world.1.load(Ordering::SeqCst),
            wall_ms: 1_700_000_000_000,
        }
    }

    fn reboot(&self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        self.0.1.store(0, Ordering::SeqCst);
    }

    fn pass(&self, ms: u64) {
        self.0.1.fetch_add(ms, Ordering::SeqCst);
    }
}

const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");

/// The same document, told apart by a comment.
fn acceptance(comment: &str, mode: Mode) -> Acceptance {
    let text = format!("{DOCUMENT}# {comment}\n");
    let bundle = machine_config::read(text.as_bytes()).unwrap();
    Acceptance {
        text,
        bundle,
        sent_ms: None,
        by: "tester".to_owned(),
        mode,
        expected: None,
    }
}

fn open(world: &World, directory: &Path) -> Ledger {
    Ledger::open(directory, world.clock()).unwrap()
}

fn in_force(ledger: &Ledger) -> Option<u64> {
    ledger.current().map(|e| e.generation.number)
}

const TRY: Mode = Mode::Try { timeout_ms: 60_000 };

#[test]
fn what_was_accepted_is_there_after_a_new_start() {
    let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
    let ledger = open(&world, directory.path());
    assert_eq!(in_force(&ledger), None);
    assert_eq!(ledger.accept(acceptance("one", Mode::Auto)).unwrap(), 1);
    let text = ledger.get(1).unwrap().text.expose().to_owned();
    let again = open(&world, directory.path());
    assert_eq!(in_force(&again), Some(1));
    assert_eq!(again.get(0).unwrap().text.expose(), text);
    assert!(again.unreadable().is_empty());
}

#[test]
fn a_stale_expectation_changes_nothing() {
    let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
    let ledger = open(&world, directory.path());
    ledger.accept(acceptance("one", Mode::Auto)).unwrap();
    let stale = Acceptance {
        expected: Some(7),
        ..acceptance("two", Mode::Auto)
    };
    let refused = ledger.accept(stale).unwrap_err();
    assert!(
        matches!(
            refused,
            LedgerError::Stale {
                expected: 7,
                newest: 1
            }
        ),
        "{refused}"
    );
    assert_eq!(ledger.list().len(), 1);
}

#[test]
fn a_try_ends_by_time_by_reboot_or_by_confirmation() {
    for (end, after) in [("time", 1), ("reboot", 1), ("confirmation", 2)] {
        let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
        let ledger = open(&world, directory.path());
        ledger.accept(acceptance("one", Mode::Auto)).unwrap();
        ledger.accept(acceptance("two", TRY)).unwrap();
        world.pass(59_999);
        // A killed agent starts again in the same boot and keeps the deadline.
        let ledger = open(&world, directory.path());
        assert_eq!(in_force(&ledger), Some(2));
        assert_eq!(ledger.pending_try(), Some((2, 1)));
        match end {
            "time" => world.pass(1),
            "reboot" => world.reboot(),
            _ => assert_eq!(ledger.confirm(None).unwrap(), 2),
        }
        assert_eq!(in_force(&ledger), Some(after), "{end}");
        world.reboot();
        assert_eq!(
            in_force(&open(&world, directory.path())),
            Some(after),
            "{end}, later"
        );
        if after == 1 {
            assert_eq!(ledger.sweep().unwrap(), [2]);
            assert_eq!(ledger.list()[1].1, State::Reverted);
            assert!(matches!(ledger.confirm(None), Err(LedgerError::NoTry)));
        }
    }
}

#[test]
fn a_staged_generation_waits_for_the_next_boot() {
    let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
    let ledger = open(&world, directory.path());
    ledger.accept(acceptance("one", Mode::Auto)).unwrap();
    ledger.accept(acceptance("two", Mode::Staged)).unwrap();
    assert_eq!(in_force(&ledger), Some(1));
    world.reboot();
    assert_eq!(in_force(&open(&world, directory.path())), Some(2));
}

#[test]
fn a_damaged_newest_generation_falls_back_and_is_named() {
    for damage in ["cut", "flip", "empty"] {
        let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
        let ledger = open(&world, directory.path());
        ledger.accept(acceptance("one", Mode::Auto)).unwrap();
        ledger.accept(acceptance("two", Mode::Auto)).unwrap();
        let path = directory.path().join("0000000002.generation");
        let mut bytes = std::fs::read(&path).unwrap();
        match damage {
            "cut" => bytes.truncate(bytes.len() / 2),
            "flip" => *bytes.last_mut().unwrap() ^= 1,
            _ => bytes.clear(),
        }
        durable::replace(&path, &bytes, 0o600).unwrap();
        let ledger = open(&world, directory.path());
        assert_eq!(in_force(&ledger), Some(1), "{damage}");
        assert_eq!(ledger.unreadable().len(), 1, "{damage}");
        // Its number is never given again, and what replaces it ends the complaint.
        assert_eq!(ledger.accept(acceptance("three", Mode::Auto)).unwrap(), 3);
        assert_eq!(ledger.unreadable().len(), 0, "{damage}");
    }
}

#[test]
fn leftovers_of_a_power_cut_are_ignored() {
    let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
    open(&world, directory.path())
        .accept(acceptance("one", Mode::Auto))
        .unwrap();
    let leftover = directory.path().join(".0000000002.generation.new");
    durable::replace(&leftover, b"half a file", 0o600).unwrap();
    let ledger = open(&world, directory.path());
    assert_eq!(in_force(&ledger), Some(1));
    assert_eq!(ledger.accept(acceptance("two", Mode::Auto)).unwrap(), 2);
    assert!(!leftover.exists());
}

#[test]
fn a_bootstrap_order_is_one_shot() {
    let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
    let ledger = open(&world, directory.path());
    assert_eq!(ledger.bootstrap_order().unwrap(), None);
    let id = ledger.order_bootstrap("tester").unwrap();
    assert_eq!(
        open(&world, directory.path())
            .order_bootstrap("again")
            .unwrap(),
        id
    );
    ledger.finish_bootstrap().unwrap();
    let refused = open(&world, directory.path())
        .order_bootstrap("again")
        .unwrap_err();
    assert!(
        matches!(refused, LedgerError::Bootstrapped { .. }),
        "{refused}"
    );
}

#[test]
fn version_1_on_disk_is_read_for_ever() {
    use sha2::{Digest, Sha256};
    let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
    let meta = r#"{"number":5,"accepted_ms":1,"by":"x","mode":{"try":{"timeout_ms":1}},"boot_id":"b","boottime_ms":2}"#;
    let body = format!("{meta}\n{DOCUMENT}");
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(body.as_bytes()));
    let whole = format!("machined-ledger/v1 sha256:{digest}\n{body}");
    let path = directory.path().join("0000000005.generation");
    durable::replace(&path, whole.as_bytes(), 0o600).unwrap();
    durable::replace(&path.with_extension("confirmed"), b"", 0o600).unwrap();
    assert_eq!(in_force(&open(&world, directory.path())), Some(5));
}

#[test]
fn a_membership_is_kept_and_read_for_ever() {
    let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
    let ledger = open(&world, directory.path());
    assert_eq!(ledger.membership().unwrap(), None);
    let text = r#"{"version":1,"id":"8e9e05c52164694d","initial_cluster":[["cp1","https://192.0.2.1:2380"],["cp2","https://192.0.2.2:2380"]],"voter":false}"#;
    let path = directory.path().join("etcd.membership");
    durable::replace(&path, text.as_bytes(), 0o600).unwrap();
    let kept = ledger.membership().unwrap().unwrap();
    assert_eq!(
        kept.id,
        machine_plan::membership::MemberId(0x8e9e_05c5_2164_694d)
    );
    ledger.keep_membership(&kept).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(
        open(&world, directory.path()).membership().unwrap(),
        Some(kept)
    );
    for damaged in ["", "{}", &text.replace("\"version\":1", "\"version\":2")] {
        durable::replace(&path, damaged.as_bytes(), 0o600).unwrap();
        assert!(ledger.membership().is_err(), "{damaged}");
    }
}

const ON_TMPFS: &str = "MACHINED_TEST_TMPFS";

/// Needs a file system that can be full: the test runs itself again in a mount
/// namespace of its own with one of a few pages. Where that is not permitted
/// there is nothing to try.
#[test]
fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    if let Some(directory) = std::env::var_os(ON_TMPFS) {
        return full_disk(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=128k none \"$1\" || exit 77
        exec \"$2\" --exact ledger::tests::a_full_disk_refuses_what_is_new_and_loses_nothing";
    let ran = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .env(ON_TMPFS, directory.path())
        .output();
    match ran {
        Ok(ran) if ran.status.success() => {
            let said = String::from_utf8_lossy(&ran.stdout);
            assert!(said.contains("1 passed"), "{said}");
        }
        Ok(ran) if String::from_utf8_lossy(&ran.stdout).contains("running 1 test") => {
            panic!("{}", String::from_utf8_lossy(&ran.stdout));
        }
        not_permitted => eprintln!("no mount namespace here: {not_permitted:?}"),
    }
}

fn full_disk(directory: &Path) {
    let world = World::default();
    let ledger = open(&world, directory);
    ledger.accept(acceptance("one", Mode::Auto)).unwrap();
    assert_eq!(ledger.unwritable(), None);
    let filler = directory.join("filler");
    durable::replace(&filler, &[0; 64 << 10], 0o600).unwrap();
    let mut more = 0;
    while durable::replace(&directory.join(format!("more{more}")), &[0; 4096], 0o600).is_ok() {
        more += 1;
    }
    let refused = ledger.accept(acceptance("two", Mode::Auto)).unwrap_err();
    let full = std::io::ErrorKind::StorageFull;
    assert!(
        matches!(&refused, LedgerError::Io { source, .. } if source.kind() == full),
        "{refused:?}"
    );
    assert_eq!(in_force(&ledger), Some(1));
    let why = ledger.unwritable().unwrap();
    assert!(why.contains("os error 28"), "{why}");
    let again = open(&world, directory);
    assert_eq!((in_force(&again), again.unreadable().len()), (Some(1), 0));

    std::fs::remove_file(&filler).unwrap();
    assert_eq!(ledger.unwritable(), None, "room again is noticed");
    assert_eq!(ledger.accept(acceptance("two", Mode::Auto)).unwrap(), 2);
    assert_eq!(in_force(&open(&world, directory)), Some(2));
}

#[test]
fn with_every_generation_damaged_nothing_is_in_force_and_nothing_is_overwritten() {
    let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
    let ledger = open(&world, directory.path());
    for comment in ["one", "two"] {
        ledger.accept(acceptance(comment, Mode::Auto)).unwrap();
    }
    for number in [1, 2] {
        let path = directory.path().join(format!("{number:010}.generation"));
        durable::replace(&path, b"ruin", 0o600).unwrap();
    }
    let ledger = open(&world, directory.path());
    assert_eq!((in_force(&ledger), ledger.unreadable().len()), (None, 2));
    // Enrolled again: a number of its own, and the ruins stay for whoever can read them.
    assert_eq!(ledger.accept(acceptance("again", Mode::Auto)).unwrap(), 3);
    assert_eq!(in_force(&ledger), Some(3));
    let ruin = std::fs::read(directory.path().join("0000000002.generation")).unwrap();
    assert_eq!(ruin, b"ruin");
}
