use super::*;
use crate::api::peer::Identity;

fn record() -> Record {
    let identity = Identity {
        name: "alice\n\"x".to_owned(),
        role: None,
        ..Identity::default()
    };
    let peer = Peer::new(([10, 0, 2, 2], 4711).into(), Some(identity), [0; 32]);
    Record::new(&peer, "ApplyConfig").generation(7)
}

#[tokio::test]
async fn a_line_is_one_json_object_and_an_event() {
    let directory = tempfile::tempdir().unwrap();
    let (path, board) = (
        directory.path().join("new/audit.log"),
        Arc::new(Board::default()),
    );
    let audit = Audit::new(&path, Arc::clone(&board));
    audit.append(record()).await.unwrap();
    audit
        .append(record().refused(&Status::aborted("stale")))
        .await
        .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["by"], "alice\n\"x");
    assert_eq!(lines[0]["remote"], "10.0.2.2:4711");
    assert_eq!(lines[0]["generation"], 7);
    assert_eq!(lines[0]["result"], "ok");
    assert_eq!(lines[1]["result"], "Aborted: stale");
    let (events, _) = board.events_from(0);
    assert!(events.iter().all(|event| event.kind == "audit"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test]
async fn large_files_are_put_aside_and_old_ones_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let audit = Audit::new(&path, Arc::new(Board::default()));
    let full = vec![b'x'; usize::try_from(ROTATE_AT).unwrap()];
    for _ in 0..KEPT + 2 {
        crate::durable::replace(&path, &full, 0o600).unwrap();
        audit.append(record()).await.unwrap();
    }
    let mut names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "audit.log",
        "audit.log.1",
        "audit.log.2",
        "audit.log.3",
        "audit.log.4",
    ];
    assert_eq!(names, expected);
    assert!(std::fs::metadata(&path).unwrap().len() < 1000);
}

#[tokio::test]
async fn what_cannot_be_written_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let board = Arc::new(Board::default());
    // A directory in its place: opening it for writing fails.
    let audit = Audit::new(directory.path(), Arc::clone(&board));
    assert!(audit.append(record()).await.is_err());
    audit.note(record()).await;
    let (events, _) = board.events_from(0);
    assert!(
        events
            .iter()
            .any(|event| event.kind == "condition" && event.object == "audit log")
    );
}

#[tokio::test]
async fn half_a_line_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    crate::durable::replace(&path, b"{\"time_ms\":17", 0o600).unwrap();
    let audit = Audit::new(&path, Arc::new(Board::default()));
    audit.append(record()).await.unwrap();
    audit.append(record()).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let whole = text
        .lines()
        .filter(|l| serde_json::from_str::<serde_json::Value>(l).is_ok());
    assert_eq!((whole.count(), text.lines().count()), (2, 3));
}
