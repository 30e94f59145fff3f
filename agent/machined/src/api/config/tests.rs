use super::*;
use crate::api::fixture::{cluster, configured};

fn request(document: &str) -> v1::ApplyConfigRequest {
    v1::ApplyConfigRequest {
        document: document.as_bytes().to_vec(),
        ..Default::default()
    }
}

fn changed(document: &str) -> String {
    let changed = document.replacen("hostname: cp1", "hostname: cp2", 1);
    assert_ne!(changed, document, "{document}");
    changed
}

async fn applied(ledger: &Arc<Ledger>, request: v1::ApplyConfigRequest) -> Result<Applied, Status> {
    apply(ledger, request, "alice".to_owned()).await
}

#[tokio::test]
async fn a_change_is_accepted_with_its_diff_and_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = configured(directory.path());
    let done = applied(&ledger, request(&changed(&cluster().control_plane)))
        .await
        .unwrap();
    let response = done.response;
    assert!(done.accepted && response.changed);
    assert_eq!(response.generation, 2);
    assert!(
        response.diff.contains("-  hostname: cp1") && response.diff.contains("+  hostname: cp2")
    );
    assert!(!response.diff.contains("PRIVATE KEY"), "{}", response.diff);
    let shown = get(&ledger, 0).unwrap();
    assert_eq!(shown.generation, 2);
    assert!(shown.document.contains("hostname: cp2") && !shown.document.contains("PRIVATE KEY"));
    let history = history(&ledger).generations;
    assert_eq!(history.len(), 2);
    assert!(history[1].current && !history[0].current);
    assert_eq!(
        (&*history[1].by, &*history[1].state),
        ("alice", "confirmed")
    );
}

#[tokio::test]
async fn the_same_document_is_no_news() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = configured(directory.path());
    let done = applied(&ledger, request(&cluster().control_plane))
        .await
        .unwrap();
    assert!(!done.accepted && !done.response.changed);
    assert_eq!((done.response.generation, &*done.response.diff), (1, ""));
    assert_eq!(ledger.list().len(), 1);
}

#[tokio::test]
async fn a_stale_expectation_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = configured(directory.path());
    for dry_run in [true, false] {
        let document = changed(&cluster().control_plane);
        let stale = v1::ApplyConfigRequest {
            expected_generation: 7,
            dry_run,
            ..request(&document)
        };
        let status = applied(&ledger, stale).await.err().unwrap();
        assert_eq!(status.code(), tonic::Code::Aborted);
    }
    let document = changed(&cluster().control_plane);
    let right = v1::ApplyConfigRequest {
        expected_generation: 1,
        ..request(&document)
    };
    assert_eq!(
        applied(&ledger, right).await.unwrap().response.generation,
        2
    );
}

#[tokio::test]
async fn refused_and_dry_requests_leave_a_pending_try_alone() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = configured(directory.path());
    let document = changed(&cluster().control_plane);
    let attempt = v1::ApplyConfigRequest {
        mode: v1::ApplyMode::Try.into(),
        try_timeout_seconds: 600,
        ..request(&document)
    };
    let done = applied(&ledger, attempt).await.unwrap();
    assert_eq!(done.response.generation, 2);
    assert!(done.response.revert_at_ms > crate::status::now_ms() + 590_000);
    assert_eq!(ledger.pending_try().unwrap().0, 2);

    let dry = v1::ApplyConfigRequest {
        dry_run: true,
        ..request(&cluster().control_plane)
    };
    let done = applied(&ledger, dry).await.unwrap();
    assert!(!done.accepted && done.response.changed);
    for bad in [
        "",
        "nonsense: [",
        "apiVersion: machined/v1\nkind: MachineConfig\n",
        "\u{0}",
    ] {
        let status = applied(&ledger, request(bad)).await.err().unwrap();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{bad:?}");
    }
    let huge = "x".repeat(machined_proto::DOCUMENT_LIMIT + 1);
    assert!(applied(&ledger, request(&huge)).await.is_err());
    let other = applied(&ledger, request(&cluster().worker))
        .await
        .err()
        .unwrap();
    assert_eq!(other.code(), tonic::Code::FailedPrecondition);
    let long = v1::ApplyConfigRequest {
        mode: v1::ApplyMode::Try.into(),
        try_timeout_seconds: TRY.1 + 1,
        ..request(&document)
    };
    assert!(applied(&ledger, long).await.is_err());
    let unknown = v1::ApplyConfigRequest {
        mode: 77,
        ..request(&document)
    };
    assert!(applied(&ledger, unknown).await.is_err());

    assert_eq!(ledger.list().len(), 2, "the ledger was not written");
    assert_eq!(ledger.pending_try().unwrap().0, 2, "the try still pends");
    // Sending what was in force before is how to call it off at once.
    let back = applied(&ledger, request(&cluster().control_plane))
        .await
        .unwrap();
    assert_eq!(back.response.generation, 3);
    assert!(ledger.pending_try().is_none());
}

#[tokio::test]
async fn secrets_need_not_be_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = configured(directory.path());
    let before = ledger.current().unwrap();
    let done = applied(&ledger, request(&changed(&cluster().config)))
        .await
        .unwrap();
    assert_eq!(done.response.generation, 2);
    let after = ledger.current().unwrap();
    assert_eq!(after.bundle.secrets, before.bundle.secrets);
    assert_eq!(after.bundle.config.hostname().to_string(), "cp2");
}

#[tokio::test]
async fn a_machine_stays_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = configured(directory.path());
    let status = applied(&ledger, request(&cluster().worker))
        .await
        .err()
        .unwrap();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(
        status.message().starts_with("machine.role: "),
        "{}",
        status.message()
    );
}

#[tokio::test]
async fn rollback_is_a_new_generation() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = configured(directory.path());
    applied(&ledger, request(&changed(&cluster().control_plane)))
        .await
        .unwrap();
    let to = |generation, expected_generation| v1::RollbackConfigRequest {
        generation,
        expected_generation,
    };
    let by = || "alice".to_owned();
    let code = |result: Result<u64, Status>| result.unwrap_err().code();
    assert_eq!(
        code(rollback(&ledger, &to(9, 0), by())),
        tonic::Code::NotFound
    );
    assert_eq!(
        code(rollback(&ledger, &to(1, 1), by())),
        tonic::Code::Aborted
    );
    assert_eq!(rollback(&ledger, &to(1, 2), by()).unwrap(), 3);
    let current = ledger.current().unwrap();
    assert_eq!(current.text.expose(), cluster().control_plane);
}

#[test]
fn whose_etcd_it_is_never_changes() {
    let own = cluster().config.clone();
    let at = |host: &str| format!("  etcd: {{external: {{endpoints: ['https://{host}:2379']}}}}\n");
    let [own, one, other] = [String::new(), at("a.example"), at("b.example")]
        .map(|external| machine_config::read(format!("{own}{external}").as_bytes()).unwrap());
    for (old, new, words) in [
        (&own, &one, "is in etcd on its control planes"),
        (&one, &own, "is in an etcd outside of it"),
    ] {
        let refused = same_machine(old, new).unwrap_err();
        assert!(refused.message().contains(words), "{refused}");
    }
    same_machine(&one, &other).unwrap();
}

#[test]
fn whether_etcd_is_on_machines_of_its_own_never_changes_and_where_these_are_does() {
    let with = |role: &str, etcd: &str| {
        let text = cluster().config.replace("role: controlplane", role);
        machine_config::read(format!("{text}{etcd}").as_bytes()).unwrap()
    };
    let (one, two) = (
        "  etcd: {members: [10.0.2.21]}\n",
        "  etcd: {members: [10.0.2.21, 10.0.2.22]}\n",
    );
    let external = "  etcd: {external: {endpoints: ['https://a.example:2379']}}\n";
    let cp = "role: controlplane";
    for (old, new, words) in [
        ("", one, "is not in etcd on machines of its own"),
        (one, "", "is in etcd on machines of its own"),
        (one, external, "is in etcd on machines of its own"),
        (external, one, "is not in etcd on machines of its own"),
    ] {
        let refused = same_machine(&with(cp, old), &with(cp, new)).unwrap_err();
        assert!(refused.message().contains(words), "{refused}");
    }
    for role in [cp, "role: etcd"] {
        same_machine(&with(role, one), &with(role, two)).unwrap();
    }
    same_machine(&with("role: worker", ""), &with("role: worker", one)).unwrap();
    let other = same_machine(&with(cp, one), &with("role: etcd", one)).unwrap_err();
    assert!(other.message().contains("machine.role"), "{other}");
}

#[test]
fn as_what_etcd_runs_never_changes() {
    let as_what = |text: &str, run_as: &str| {
        let text = format!("{text}  etcd: {{runAs: {run_as}}}\n");
        machine_config::read(text.as_bytes()).unwrap()
    };
    let nothing_said = machine_config::read(cluster().config.as_bytes()).unwrap();
    let [pod, unit] = ["pod", "unit"].map(|run_as| as_what(&cluster().config, run_as));
    for (old, new, words) in [
        (&pod, &unit, "is a pod, and does not become a unit"),
        (&nothing_said, &unit, "is a pod, and does not become a unit"),
        (&unit, &nothing_said, "is a unit, and does not become a pod"),
    ] {
        let refused = same_machine(old, new).unwrap_err();
        assert!(
            refused.message().starts_with("cluster.etcd.runAs: "),
            "{refused}"
        );
        assert!(refused.message().contains(words), "{refused}");
    }
    same_machine(&nothing_said, &pod).unwrap();
    // A worker has none: what its document says of members is all the same to it.
    let config = cluster()
        .config
        .replace("role: controlplane", "role: worker");
    let worker = |run_as| as_what(&config, run_as);
    same_machine(&worker("pod"), &worker("unit")).unwrap();
}
