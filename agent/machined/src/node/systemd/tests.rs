//! The adapter against two managers: one that a test scripts, and systemd
//! itself, run as a private user manager. Both must give the same answers, so
//! the scripted one cannot drift from the truth.
#![allow(
    clippy::disallowed_methods,
    reason = "a power cut may tear a test's files"
)]

pub(crate) mod bench;
mod double;
mod private;
mod scenarios;

use std::time::Duration;

use bench::Bench;

/// For a whole scenario, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        mod scripted {
            $(#[tokio::test]
            async fn $name() {
                let bench = super::Bench::scripted().await;
                crate::testing::within(super::LIMIT, "the scenario", super::scenarios::$name(bench)).await;
            })+
        }
        mod real {
            $(#[tokio::test]
            async fn $name() {
                let bench = super::Bench::real().await;
                crate::testing::within(super::LIMIT, "the scenario", super::scenarios::$name(bench)).await;
            })+
        }
    };
}

scenarios!(
    a_job_is_followed_to_its_end,
    a_job_that_fails_names_unit_and_result,
    a_unit_whose_need_fails_is_a_dependency_failure,
    a_job_that_systemd_gives_up_on_is_a_timeout,
    a_job_that_never_ends_has_a_deadline,
    a_unit_that_is_not_there_is_absent_and_cannot_be_started,
    a_manager_that_goes_away_ends_the_wait,
    jobs_and_failures_without_a_job_are_changes,
    the_end_of_the_connection_ends_the_changes,
    changed_unit_files_count_after_one_reload,
    a_unit_is_stopped_and_one_that_does_not_run_is_stopped,
);

// Only a script can be this quick; on a busy machine so can systemd.
#[tokio::test]
async fn a_job_that_ends_before_the_call_returns_is_seen() {
    let bench = Bench::scripted().await;
    bench.write(&[("quick.service", bench::Behaviour::Works)]);
    bench.script().end_jobs_before_replying();
    let restart = bench.systemd.restart("quick.service");
    crate::testing::within(LIMIT, "the job", restart)
        .await
        .unwrap();
}

#[tokio::test]
async fn one_reload_serves_many_units() {
    let bench = Bench::scripted().await;
    bench.write(&[
        ("one.service", bench::Behaviour::Works),
        ("two.service", bench::Behaviour::Works),
        ("three.service", bench::Behaviour::Fails),
    ]);
    bench.systemd.reload_manager().await.unwrap();
    assert_eq!(bench.script().reloads(), 1);
    bench.systemd.start("two.service").await.unwrap();
    assert_eq!(bench.script().reloads(), 1, "jobs need no reload");
}

#[test]
fn object_paths_are_read_as_systemd_writes_them() {
    for name in ["kubelet.service", "a-b_c@d.mount", "1.service", "ü.scope"] {
        assert_eq!(
            super::unit_name(&double::label(name)).as_deref(),
            Some(name)
        );
    }
    for broken in ["a_", "a_2", "a_zz", "_ff"] {
        assert_eq!(super::unit_name(broken), None, "{broken}");
    }
}
