//! What must be true of any manager.

use std::time::Duration;

use futures_util::StreamExt;
use machine_plan::observed::{Probe, UnitSeen};

use super::bench::{Behaviour, Bench};

async fn seen(bench: &Bench, unit: &str) -> UnitSeen {
    match bench.systemd.unit(unit).await {
        Probe::Seen(seen) => seen,
        other => panic!("{unit}: {other:?}"),
    }
}

pub(super) async fn a_job_is_followed_to_its_end(bench: Bench) {
    bench.write(&[("steady.service", Behaviour::Works)]);
    assert_eq!(
        seen(&bench, "steady.service").await.active_state,
        "inactive"
    );
    let steady = UnitSeen {
        active_state: "active".to_owned(),
        sub_state: "running".to_owned(),
        result: "success".to_owned(),
        exit_status: 0,
        restarts: 0,
        inputs: None,
    };
    bench.systemd.start("steady.service").await.unwrap();
    assert_eq!(seen(&bench, "steady.service").await, steady);
    // Starting what runs is success, too.
    bench.systemd.start("steady.service").await.unwrap();
    bench.systemd.restart("steady.service").await.unwrap();
    assert_eq!(seen(&bench, "steady.service").await, steady);
    bench.systemd.reload("steady.service").await.unwrap();
    assert_eq!(seen(&bench, "steady.service").await, steady);
}

pub(super) async fn a_job_that_fails_names_unit_and_result(bench: Bench) {
    bench.write(&[("broken.service", Behaviour::Fails)]);
    let why = bench.systemd.restart("broken.service").await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "cannot restart broken.service: the job's result is failed"
    );
    let broken = seen(&bench, "broken.service").await;
    assert_eq!(broken.active_state, "failed");
    assert_eq!(broken.result, "exit-code");
    // A start first clears that, and then fails by itself.
    let why = bench.systemd.start("broken.service").await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "cannot start broken.service: the job's result is failed"
    );
}

pub(super) async fn a_unit_whose_need_fails_is_a_dependency_failure(bench: Bench) {
    bench.write(&[
        ("broken.service", Behaviour::Fails),
        ("needy.service", Behaviour::Needs("broken.service")),
    ]);
    let why = bench.systemd.start("needy.service").await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "cannot start needy.service: the job's result is dependency"
    );
    assert_eq!(seen(&bench, "needy.service").await.active_state, "inactive");
}

pub(super) async fn a_job_that_systemd_gives_up_on_is_a_timeout(bench: Bench) {
    bench.write(&[("slow.service", Behaviour::IsGivenUp)]);
    let why = bench.systemd.start("slow.service").await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "cannot start slow.service: the job's result is timeout"
    );
}

pub(super) async fn a_job_that_never_ends_has_a_deadline(mut bench: Bench) {
    bench.write(&[
        ("stuck.service", Behaviour::NeverStarts),
        ("steady.service", Behaviour::Works),
    ]);
    bench.patience(Duration::from_secs(1));
    let why = bench.systemd.start("stuck.service").await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "cannot start stuck.service: the job did not end within 1 s"
    );
    assert_eq!(
        seen(&bench, "stuck.service").await.active_state,
        "activating"
    );
    // Others do not wait for it.
    bench.patience(super::LIMIT);
    bench.systemd.start("steady.service").await.unwrap();
}

pub(super) async fn a_unit_that_is_not_there_is_absent_and_cannot_be_started(bench: Bench) {
    assert_eq!(bench.systemd.unit("ghost.service").await, Probe::Absent);
    let why = bench.systemd.start("ghost.service").await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "cannot start ghost.service: \
         org.freedesktop.systemd1.NoSuchUnit: Unit ghost.service not found."
    );
}

pub(super) async fn a_manager_that_goes_away_ends_the_wait(mut bench: Bench) {
    bench.write(&[
        ("stuck.service", Behaviour::NeverStarts),
        ("steady.service", Behaviour::Works),
    ]);
    let systemd = bench.systemd.clone();
    let mut start = std::pin::pin!(systemd.start("stuck.service"));
    // The job is certainly queued once its unit is being started.
    let begun = async {
        while seen(&bench, "stuck.service").await.active_state != "activating" {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = &mut start => panic!("{done:?}"),
        () = begun => {}
    }
    bench.die().await;
    let why = start.await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "cannot start stuck.service: the bus went away before the job ended"
    );
    let later = bench.systemd.unit("stuck.service").await;
    assert!(matches!(later, Probe::Unreadable(_)), "{later:?}");
    bench.systemd.start("stuck.service").await.unwrap_err();
    bench.systemd.reload_manager().await.unwrap_err();
}

pub(super) async fn jobs_and_failures_without_a_job_are_changes(bench: Bench) {
    bench.write(&[("steady.service", Behaviour::Works)]);
    let mut changes = std::pin::pin!(bench.systemd.changes().await.unwrap());
    bench.systemd.start("steady.service").await.unwrap();
    assert_eq!(changes.next().await.as_deref(), Some("steady.service"));
    bench.crash("steady.service").await;
    assert_eq!(changes.next().await.as_deref(), Some("steady.service"));
    assert_eq!(seen(&bench, "steady.service").await.active_state, "failed");
}

pub(super) async fn the_end_of_the_connection_ends_the_changes(mut bench: Bench) {
    let systemd = bench.systemd.clone();
    let mut changes = std::pin::pin!(systemd.changes().await.unwrap());
    bench.die().await;
    assert_eq!(changes.next().await, None);
}

pub(super) async fn changed_unit_files_count_after_one_reload(bench: Bench) {
    let units = ["one.service", "two.service", "three.service"];
    bench.write(&units.map(|unit| (unit, Behaviour::Works)));
    for unit in units {
        bench.systemd.start(unit).await.unwrap();
    }
    bench.write(&units.map(|unit| (unit, Behaviour::Fails)));
    // What runs is restarted as it was read.
    bench.systemd.restart("one.service").await.unwrap();
    bench.systemd.reload_manager().await.unwrap();
    for unit in units {
        bench.systemd.restart(unit).await.unwrap_err();
    }
}

pub(super) async fn a_unit_is_stopped_and_one_that_does_not_run_is_stopped(bench: Bench) {
    bench.write(&[("steady.service", Behaviour::Works)]);
    bench.systemd.start("steady.service").await.unwrap();
    for _ in 0..2 {
        bench.systemd.stop("steady.service").await.unwrap();
        let seen = seen(&bench, "steady.service").await;
        assert_eq!(
            (seen.active_state.as_str(), seen.sub_state.as_str()),
            ("inactive", "dead")
        );
    }
}
