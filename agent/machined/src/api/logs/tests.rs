use futures_util::StreamExt;

use super::*;

fn journal(directory: &tempfile::TempDir, script: &str) -> Journal {
    let path = directory.path().join("journalctl");
    let text = format!("#!/bin/sh\n{script}\n");
    crate::durable::replace(&path, text.as_bytes(), 0o755).unwrap();
    Journal::with(path)
}

async fn all(
    stream: impl Stream<Item = Result<v1::LogLine, Status>>,
) -> Vec<Result<v1::LogLine, Status>> {
    stream.collect().await
}

#[test]
fn arguments_say_what_was_asked() {
    let request = v1::LogsRequest {
        unit: "kubelet".to_owned(),
        follow: true,
        since_ms: 1_700_000_000_042,
        tail: 20,
        boot: -1,
    };
    let expected = [
        "--unit=kubelet.service",
        "--boot=-1",
        "--since=@1700000000.042",
        "--lines=20",
        "--follow",
    ];
    assert_eq!(arguments(&request).unwrap(), expected);
    let everything = v1::LogsRequest {
        follow: true,
        ..Default::default()
    };
    assert_eq!(
        arguments(&everything).unwrap(),
        ["--boot=0", "--lines=all", "--follow"]
    );
}

#[test]
fn a_unit_is_a_name_and_nothing_else() {
    assert_eq!(unit("kubelet").unwrap(), "kubelet.service");
    assert_eq!(unit("etcd.scope").unwrap(), "etcd.scope");
    let long = "x".repeat(256);
    for bad in [
        "", "*", "-f", "a b", "../x", "a\nb", "a;b", "kubelet?", &long,
    ] {
        assert!(unit(bad).is_err(), "{bad:?}");
    }
    let wrong = v1::LogsRequest {
        boot: 1,
        ..Default::default()
    };
    assert!(arguments(&wrong).is_err());
    let wrong = v1::LogsRequest {
        since_ms: -1,
        ..Default::default()
    };
    assert!(arguments(&wrong).is_err());
}

#[tokio::test]
async fn records_become_lines() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(
        &directory,
        r#"cat <<'END'
{"__REALTIME_TIMESTAMP":"1700000000042999","_SYSTEMD_UNIT":"kubelet.service","PRIORITY":"3","MESSAGE":"oh no"}
not json
{"__REALTIME_TIMESTAMP":"1700000000043000","SYSLOG_IDENTIFIER":"kernel","MESSAGE":[104,105,255]}
{"_SYSTEMD_UNIT":"init.scope","UNIT":"containerd.service","MESSAGE":null}
END"#,
    );
    let lines = all(journal.dmesg(false).unwrap()).await;
    let lines: Vec<_> = lines.into_iter().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (lines[0].time_ms, lines[0].priority),
        (1_700_000_000_042, 3)
    );
    assert_eq!(
        (&*lines[0].unit, &*lines[0].message),
        ("kubelet.service", "oh no")
    );
    assert_eq!(
        (&*lines[1].unit, &*lines[1].message),
        ("kernel", "hi\u{fffd}")
    );
    assert_eq!(
        (&*lines[2].unit, &*lines[2].message),
        ("containerd.service", "")
    );
}

#[tokio::test]
async fn a_huge_record_is_passed_over_and_the_next_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"printf '{"MESSAGE":"'; head -c 600000 /dev/zero | tr '\0' x; echo '"}'
echo '{"MESSAGE":"next"}'"#;
    let lines = all(journal(&directory, script).dmesg(false).unwrap()).await;
    let messages: Vec<_> = lines
        .into_iter()
        .map(|line| line.unwrap().message)
        .collect();
    assert_eq!(messages, ["<a record of more than 262144 bytes>", "next"]);
}

#[tokio::test]
async fn complaints_reach_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal(&directory, "echo 'no such boot' >&2; exit 1");
    let lines = all(journal.dmesg(false).unwrap()).await;
    let status = lines.into_iter().next().unwrap().unwrap_err();
    assert_eq!(status.message(), "journalctl: no such boot");
}

#[tokio::test]
async fn the_program_ends_with_the_stream() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let script = format!(
        "echo $$ > {}; echo '{{\"MESSAGE\":\"one\"}}'; exec sleep 600",
        pid.display()
    );
    let mut stream = Box::pin(journal(&directory, &script).dmesg(true).unwrap());
    assert_eq!(stream.next().await.unwrap().unwrap().message, "one");
    let pid = std::fs::read_to_string(pid).unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
    assert!(process.exists());
    drop(stream);
    let gone = async {
        // The runtime reaps it; a process that was only killed still has its folder.
        while process.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone)
        .await
        .expect("it ends");
}
