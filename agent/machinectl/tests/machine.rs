//! The command line against a machine's API over real TLS.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what fails by failing"
)]

mod fake;

use std::path::Path;
use std::process::Command;

use fake::{Manner, Seen, start};
use machine_pki::code::EnrolmentCode;
use machine_pki::{Authority, AuthorityKind, Secret};
use tempfile::TempDir;

/// A home with a cluster's documents and a context, and the cluster's authority.
struct Desk {
    home: TempDir,
    authority: Authority,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let args = [
            "gen",
            "config",
            "--name",
            "demo",
            "--endpoint",
            "10.0.2.15",
            "--control-planes",
            "cp1",
        ];
        assert_eq!(run(home.path(), &args).0, 0);
        let text = std::fs::read(home.path().join("demo/secrets.yaml")).unwrap();
        let secrets = machine_config::read_secrets(&text).unwrap();
        let authority = secrets.authority(AuthorityKind::Machine).unwrap();
        Self { home, authority }
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        run(self.home.path(), args)
    }

    fn good(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    }

    /// Enrols and gives the result.
    fn enrol(&self, port: u16, code: &str) -> (i32, String, String) {
        let node = format!("cp1=127.0.0.1:{port}");
        self.run(&[
            "apply-config",
            "-n",
            &node,
            "-f",
            "demo/cp1.yaml",
            "--code",
            code,
        ])
    }
}

fn run(home: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_machinectl"))
        .env_clear()
        .env("HOME", home)
        .current_dir(home)
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn documents(seen: &Seen) -> usize {
    seen.documents.lock().unwrap().len()
}

fn a_code() -> String {
    EnrolmentCode::generate().unwrap().to_string()
}

#[test]
fn a_machine_is_enrolled_by_the_code_on_its_console() {
    let desk = Desk::new();
    let code = a_code();
    // Its authority is its own: nobody vouches for a machine without a config.
    let (port, seen) = start(&fake::authority(), Manner::Code(code.clone()));
    let (exit, out, err) = desk.enrol(port, &code.to_lowercase());
    assert_eq!(exit, 0, "{err}");
    assert!(out.contains("enrolled"), "{out}");
    let sent = std::fs::read(desk.home.path().join("demo/cp1.yaml")).unwrap();
    assert_eq!(*seen.documents.lock().unwrap(), [sent]);
    assert_eq!(*seen.proofs.lock().unwrap(), 1);
}

#[test]
fn a_machine_that_refuses_the_code_gets_no_config() {
    let desk = Desk::new();
    let (port, seen) = start(&fake::authority(), Manner::Code(a_code()));
    let (exit, _, err) = desk.enrol(port, &a_code());
    assert_eq!(exit, 5, "{err}");
    assert!(
        err.contains("refused the code. Nothing of the config was sent"),
        "{err}"
    );
    assert_eq!(documents(&seen), 0);
}

#[test]
fn an_impostor_gets_no_config() {
    let desk = Desk::new();
    let (port, seen) = start(&fake::authority(), Manner::Reflects);
    let (exit, _, err) = desk.enrol(port, &a_code());
    assert_eq!(exit, 5, "{err}");
    assert!(
        err.contains("could not prove that it knows the code"),
        "{err}"
    );
    assert_eq!((documents(&seen), *seen.proofs.lock().unwrap()), (0, 1));
}

#[test]
fn a_code_for_a_machine_with_a_config_is_explained() {
    let desk = Desk::new();
    let (port, _) = start(&desk.authority, Manner::Configured);
    let (exit, _, err) = desk.enrol(port, &a_code());
    assert!(
        exit == 1 && err.contains("has a config already"),
        "{exit} {err}"
    );
}

#[test]
fn a_machine_with_a_bundle_is_enrolled_by_certificates() {
    let desk = Desk::new();
    let (port, seen) = start(&desk.authority, Manner::Credential);
    let node = format!("cp1=127.0.0.1:{port}");
    let out = desk.good(&["apply-config", "-n", &node, "-f", "demo/cp1.yaml"]);
    assert!(out.contains("enrolled"), "{out}");
    assert_eq!(documents(&seen), 1);
    let (exit, out, _) = desk.run(&["health", "-n", &node]);
    assert!(exit == 1 && out.contains("maintenance"), "{out}");
    let (exit, _, err) = desk.run(&["status", "-n", &node]);
    assert!(exit == 1 && err.contains("maintenance"), "{err}");
}

#[test]
fn a_machine_of_another_cluster_is_not_trusted() {
    let desk = Desk::new();
    let (port, seen) = start(&fake::authority(), Manner::Configured);
    let node = format!("cp1=127.0.0.1:{port}");
    let (exit, _, err) = desk.run(&["apply-config", "-n", &node, "-f", "demo/cp1.yaml"]);
    assert_eq!(exit, 5, "{err}");
    assert!(err.contains("not from this context's machine CA"), "{err}");
    assert_eq!(documents(&seen), 0);
}

#[test]
fn a_machine_of_another_name_is_not_trusted() {
    let desk = Desk::new();
    let (port, _) = start(&desk.authority, Manner::Configured);
    let (exit, _, err) = desk.run(&["status", "-n", &format!("cp2=127.0.0.1:{port}")]);
    assert!(
        exit == 5 && err.contains("its certificate is not for cp2"),
        "{err}"
    );
}

#[test]
fn a_client_of_another_cluster_is_told_so() {
    let desk = Desk::new();
    let (port, _) = start(&desk.authority, Manner::Configured);
    // A context with the machine's CA and a certificate of another one: the machine
    // refuses it, which TLS 1.3 tells only after the client's part is done.
    let other = Desk::new();
    let path = desk.home.path().join(".config/machinectl/config.yaml");
    let load = |path: &Path| machinectl::context::Contexts::load(path).unwrap();
    let stranger = load(&other.home.path().join(".config/machinectl/config.yaml"));
    let mut contexts = load(&path);
    let mut mixed = contexts.find("demo").unwrap().clone();
    mixed.name = "mixed".into();
    mixed.certificate = stranger.find("demo").unwrap().certificate.clone();
    mixed.key = Secret::new(stranger.find("demo").unwrap().key.expose().to_owned());
    contexts.add(mixed, false).unwrap();
    contexts.save().unwrap();
    let node = format!("cp1=127.0.0.1:{port}");
    for _ in 0..5 {
        let (exit, _, err) = desk.run(&["status", "-c", "mixed", "-n", &node]);
        assert_eq!(exit, 5, "{err}");
        assert!(err.contains("client certificate"), "{err}");
    }
}

#[test]
fn what_is_no_machine_api_is_told_so() {
    let desk = Desk::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = std::io::Write::write_all(&mut stream.unwrap(), b"SSH-2.0-OpenSSH_9.2\r\n");
        }
    });
    let (exit, _, err) = desk.run(&["status", "-n", &format!("cp1=127.0.0.1:{port}")]);
    assert!(
        exit == 4 && err.contains("does not speak TLS"),
        "{exit} {err}"
    );
}

#[test]
fn every_command_talks_to_a_configured_machine() {
    let desk = Desk::new();
    let (port, seen) = start(&desk.authority, Manner::Configured);
    let node = format!("cp1=127.0.0.1:{port}");
    let good = |args: &[&str]| {
        let all: Vec<&str> = args.iter().copied().chain(["-n", &node]).collect();
        desk.good(&all)
    };
    assert!(good(&["status"]).contains("controlplane"));
    assert!(good(&["status", "--wait"]).contains("yes"));
    let value: serde_json::Value = serde_json::from_str(&good(&["status", "-o", "json"])).unwrap();
    assert_eq!(value[0]["result"]["nodeReady"], true);
    assert!(good(&["bootstrap", "--wait"]).contains("Ready"));
    assert!(good(&["config", "get"]).contains("generation: 2"));
    assert!(good(&["config", "history"]).contains("confirmed"));
    assert!(good(&["config", "rollback", "1"]).contains("as generation 3"));
    assert!(good(&["config", "diff"]).contains("-generation: 1\n+generation: 2"));
    assert!(good(&["plan"]).contains("stages"));
    let events = good(&["events", "--kind", "audit", "-o", "json"]);
    assert_eq!(events.lines().count(), 1, "{events}");
    assert!(good(&["logs", "kubelet", "--since", "5m", "-b", "-1"]).contains("hello from kubelet"));
    for args in [
        &["dmesg"][..],
        &["services"],
        &["health"],
        &["reboot"],
        &["shutdown"],
    ] {
        good(args);
    }
    assert!(good(&["version"]).contains("9.9.9"));
    let applied = good(&["apply-config", "-f", "demo/cp1.yaml", "--wait"]);
    assert!(applied.contains("in effect"), "{applied}");
    assert_eq!(documents(&seen), 1);
}

#[test]
fn etcd_is_seen_mended_and_copied() {
    let desk = Desk::new();
    let (port, _) = start(&desk.authority, Manner::Configured);
    let node = format!("cp1=127.0.0.1:{port}");
    let run = |args: &[&str]| {
        let all: Vec<&str> = ["etcd"].iter().chain(args).copied().collect();
        desk.run(&[&all[..], &["-n", &node]].concat())
    };
    let (exit, out, _) = run(&["members"]);
    assert!(
        exit == 0 && out.contains("cp2") && out.contains("no answer"),
        "{out}"
    );
    let (exit, out, _) = run(&["members", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &value["members"][0]["leader"]), (0, &true.into()));
    for member in ["cp2", "b"] {
        let (exit, out, _) = run(&["remove", member]);
        assert!(exit == 0 && out.contains("cp2 (b) is removed"), "{out}");
    }
    let (exit, _, err) = run(&["remove", "cp1"]);
    assert!(exit == 1 && err.contains("cp1 answers"), "{err}");
    let (exit, _, err) = run(&["remove", "cp3"]);
    assert!(exit == 2 && err.contains("cp1 (a), cp2 (b)"), "{err}");

    let (exit, out, _) = run(&["forfeit-leadership"]);
    assert!(exit == 0 && out.contains("cp2 leads now"), "{out}");

    let (exit, out, _) = run(&["snapshot", "etcd.db"]);
    assert!(exit == 0 && out.contains("4128 bytes"), "{out}");
    let (exit, _, err) = run(&["snapshot", "etcd.db"]);
    assert!(exit == 2 && err.contains("exists already"), "{err}");
    let (exit, _, err) = run(&["snapshot", "other.db"]);
    assert!(
        exit == 1 && err.contains("no whole snapshot; nothing is kept"),
        "{err}"
    );
    let files: Vec<_> = std::fs::read_dir(desk.home.path())
        .unwrap()
        .flatten()
        .collect();
    let names: Vec<_> = files.iter().map(|file| file.file_name()).collect();
    let kept = |name: &&std::ffi::OsString| name.to_string_lossy().contains(".db");
    assert_eq!(
        names.iter().filter(kept).collect::<Vec<_>>(),
        ["etcd.db"],
        "{names:?}"
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = desk
        .home
        .path()
        .join("etcd.db")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn tokens_are_printed_once_and_told_nowhere() {
    let desk = Desk::new();
    let (port, _) = start(&desk.authority, Manner::Configured);
    let node = format!("cp1=127.0.0.1:{port}");
    let run = |args: &[&str]| {
        let all: Vec<&str> = ["token"].iter().chain(args).copied().collect();
        let (exit, out, err) = desk.run(&[&all[..], &["-n", &node]].concat());
        assert!(!err.contains("0123456789"), "{err}");
        (exit, out, err)
    };
    let (exit, out, err) = run(&["create"]);
    assert_eq!((exit, &*out, &*err), (0, "abcdef.0123456789abcdef\n", ""));
    let (exit, out, err) = run(&["create", "--print-join-command"]);
    let hash = "0f".repeat(32);
    let command = format!(
        "kubeadm join 10.0.2.15:6443 --token abcdef.0123456789abcdef \
         --discovery-token-ca-cert-hash sha256:{hash}\n"
    );
    assert!(
        exit == 0 && out == command && err.contains("v1.20.2"),
        "{out}{err}"
    );
    let (exit, out, err) = run(&["create", "--ttl", "0", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(exit == 0 && value["expires"].is_null(), "{out}");
    assert!(err.contains("token abcdef never expires"), "{err}");

    for (args, code, why) in [
        (
            &["create", "Abcdef.0123456789abcdef"][..],
            2,
            "6 and 16 of a-z",
        ),
        (
            &["create", "--groups", "system:masters"],
            2,
            "group 1 of a token",
        ),
        (&["create", "--ttl", "1ms"], 2, "less than a second"),
        (
            &["create", "--usages", "signing", "--print-join-command"],
            2,
            "both usages",
        ),
        (&["create", "--usages", "everything"], 2, "authentication"),
        (
            &["create", "taken0.0123456789abcdef"],
            1,
            "another token taken0",
        ),
        (&["delete", "ABCDEF.0123456789abcdef"], 2, "first six"),
        (&["delete", "fedcba"], 1, "no token fedcba"),
    ] {
        let (exit, _, err) = run(args);
        assert!(exit == code && err.contains(why), "{args:?}: {exit} {err}");
    }
    let (exit, out, _) = run(&["list"]);
    assert!(
        exit == 0 && out.contains("never") && out.contains("1970-01-01"),
        "{out}"
    );
    let (exit, out, _) = run(&["delete", "abcdef.0123456789abcdef"]);
    assert_eq!((exit, &*out), (0, "token abcdef is deleted\n"));
}

#[test]
fn refusals_of_the_machine_have_their_exit_codes() {
    let desk = Desk::new();
    let (port, _) = start(&desk.authority, Manner::Configured);
    let node = format!("cp1=127.0.0.1:{port}");
    let (exit, _, err) = desk.run(&["services", "restart", "kubelet", "-n", &node]);
    assert!(exit == 5 && err.contains("reader may not"), "{err}");
    let (exit, _, err) = desk.run(&["confirm", "-n", &node]);
    assert!(
        exit == 1 && err.contains("no config is being tried"),
        "{err}"
    );
    let args = [
        "apply-config",
        "-n",
        &node,
        "-f",
        "demo/cp1.yaml",
        "--expected-generation",
        "7",
    ];
    let (exit, _, err) = desk.run(&args);
    assert!(exit == 1 && err.contains("newest generation is 2"), "{err}");
}

#[test]
fn one_machine_that_is_away_hides_no_other() {
    let desk = Desk::new();
    let (port, _) = start(&desk.authority, Manner::Configured);
    let nodes = format!("cp1=127.0.0.1:{port},w1=127.0.0.1:1");
    let (exit, out, err) = desk.run(&["status", "-n", &nodes]);
    assert!(
        exit == 4 && out.contains("controlplane") && err.contains("refused"),
        "{out}{err}"
    );
    assert!(err.contains("1 of 2 nodes failed"), "{err}");
}

#[test]
fn a_kubeconfig_is_merged_and_stays_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    let (port, _) = start(&desk.authority, Manner::Configured);
    let node = format!("cp1=127.0.0.1:{port}");
    let args = [
        "kubeconfig",
        "-n",
        &node,
        "--server",
        "https://127.0.0.1:16443",
    ];
    desk.good(&args);
    desk.good(&args);
    let path = desk.home.path().join(".kube/config");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("16443") && text.contains("tls-server-name: \"10.0.2.15\""),
        "{text}"
    );
    assert!(
        desk.good(&["kubeconfig", "-n", &node, "-o", "-"])
            .contains("10.0.2.15:6443")
    );
}

#[test]
fn etcd_is_looked_after_and_brought_back() {
    let desk = Desk::new();
    let (port, _) = start(&desk.authority, Manner::Configured);
    let node = format!("cp1=127.0.0.1:{port}");
    let run = |args: &[&str]| {
        let all: Vec<&str> = ["etcd"].iter().chain(args).copied().collect();
        desk.run(&[&all[..], &["-n", &node]].concat())
    };
    let (exit, out, _) = run(&["status"]);
    assert!(
        exit == 0 && out.contains("1.5 MiB") && out.contains("no answer"),
        "{out}"
    );
    let (exit, out, err) = run(&["health"]);
    assert!(
        exit == 1 && out.contains("etcd remove cp2") && out.contains("advice: two"),
        "{out}"
    );
    assert!(err.contains("1 check failed"), "{err}");
    let (_, out, _) = run(&["health", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["healthy"], false);

    let (exit, out, _) = run(&["alarms"]);
    assert!(
        exit == 0 && out.contains("NOSPACE") && out.contains("raised"),
        "{out}"
    );
    let (exit, _, err) = run(&["alarms", "disarm"]);
    assert!(exit == 1 && err.contains("defrag first"), "{err}");
    let (exit, out, _) = run(&["alarms", "disarm", "--force"]);
    assert!(exit == 0 && out.contains("taken back"), "{out}");
    let (exit, out, _) = run(&["defrag"]);
    assert!(exit == 0 && out == "cp1: done\n", "{out}");

    let (exit, out, _) = run(&["leave"]);
    assert!(
        exit == 0 && out.contains("leave-7; it stays out until: machinectl etcd join"),
        "{out}"
    );
    let (exit, out, _) = run(&["leave", "--discard"]);
    assert!(
        exit == 0 && out.contains("discard-7; it joins anew"),
        "{out}"
    );
    assert_eq!(run(&["join"]).0, 0);

    assert_eq!(run(&["recover"]).0, 2, "of what is to be said");
    let (exit, out, err) = run(&["recover", "--from-data"]);
    assert!(exit == 1 && out.contains("its only member"), "{out}");
    assert!(err.contains("refused: cp2 still answers"), "{err}");
    let (exit, out, _) = run(&["recover", "--from-data", "--force"]);
    assert!(
        exit == 0 && out.contains("ordered as recover-true"),
        "{out}"
    );
    assert_eq!(run(&["snapshot", "etcd.db"]).0, 0);
    let (exit, out, _) = run(&["recover", "--from", "etcd.db", "--dry-run"]);
    assert!(exit == 0 && out.contains("nothing is done"), "{out}");
    let (exit, out, _) = run(&["recover", "--from", "etcd.db"]);
    assert!(
        exit == 0 && out.contains("ordered as recover-true"),
        "{out}"
    );
    let damaged = desk.home.path().join("damaged.db");
    std::fs::write(&damaged, [7; 1000]).unwrap();
    let (exit, _, err) = run(&["recover", "--from", "damaged.db"]);
    assert!(exit == 2 && err.contains("no whole snapshot"), "{err}");
}
