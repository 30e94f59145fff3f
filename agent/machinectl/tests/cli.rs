//! The command line as people type it, the obvious mistakes first. No machine is needed.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what fails by failing"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

/// A command with its own home and contexts file.
fn machinectl(home: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_machinectl"));
    command
        .env_clear()
        .env("HOME", home.path())
        .env("USER", "ann")
        .current_dir(home.path());
    command
}

/// Runs it and gives exit code, standard output and standard error.
fn run(home: &TempDir, args: &[&str]) -> (i32, String, String) {
    let output = machinectl(home).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn good(home: &TempDir, args: &[&str]) -> String {
    let (code, out, err) = run(home, args);
    assert_eq!(code, 0, "{args:?}: {err}");
    out
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn demo(home: &TempDir) {
    good(
        home,
        &[
            "gen",
            "config",
            "--name",
            "demo",
            "--endpoint",
            "10.0.2.15",
            "--control-planes",
            "cp1=127.0.0.1:1",
            "--workers",
            "w1",
        ],
    );
}

#[test]
fn nobody_reading_what_is_told_ends_no_work() {
    let home = tempfile::tempdir().unwrap();
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let run = |args: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_machinectl"))
            .args(args)
            .current_dir(home.path())
            .env("MACHINECTL_CONFIG", home.path().join("contexts.yaml"))
            .stderr(full())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap()
            .code()
    };
    let gen_config = [
        "gen",
        "config",
        "--name",
        "demo",
        "--endpoint",
        "192.0.2.1",
        "--control-planes",
    ];
    assert_eq!(run(&[&gen_config[..], &["cp1,cp2,cp3"]].concat()), Some(0));
    for name in ["secrets", "cp1", "cp2", "cp3"] {
        assert!(
            home.path().join(format!("demo/{name}.yaml")).exists(),
            "{name}"
        );
    }
    std::fs::write(home.path().join("bad.yaml"), "a: b\n").unwrap();
    assert_eq!(run(&["validate", "bad.yaml"]), Some(3));
    assert_eq!(run(&["status", "-n", "cp1=127.0.0.1:1"]), Some(4));
}

#[test]
fn further_machines_change_nothing_of_who_and_where_one_is() {
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_machinectl"))
            .args(args)
            .current_dir(home.path())
            .env("MACHINECTL_CONFIG", home.path().join("contexts.yaml"))
            .env("MACHINECTL_CONTEXT", "")
            .env("USER", "")
            .output()
            .unwrap();
        let err = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.success(), "{args:?}: {err}");
        String::from_utf8(ran.stdout).unwrap()
    };
    for name in ["demo", "prod"] {
        run(&[
            "gen",
            "config",
            "--name",
            name,
            "--endpoint",
            "192.0.2.1",
            "--control-planes",
            "cp1=192.0.2.1",
        ]);
    }
    let secrets = ["--secrets", "demo/secrets.yaml"];
    run(&[
        &[
            "context",
            "add",
            "demo",
            "--role",
            "reader",
            "--keep-current",
        ],
        &secrets[..],
    ]
    .concat());
    let worker = [
        "--endpoint",
        "192.0.2.1",
        "--workers",
        "w2=192.0.2.2",
        "-o",
        "w2",
    ];
    run(&[&["gen", "config", "--name", "demo"], &secrets[..], &worker].concat());
    let all: serde_json::Value =
        serde_json::from_str(&run(&["context", "list", "-o", "json"])).unwrap();
    let of = |name: &str| {
        all.as_array()
            .unwrap()
            .iter()
            .find(|c| c["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&of("demo")["role"], &of("demo")["current"]),
        (&"reader".into(), &false.into())
    );
    assert_eq!(of("prod")["current"], true);
    assert_eq!(of("demo")["nodes"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("bad.yaml"), "a: b\n").unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_machinectl"))
        .args(["validate", "bad.yaml", "none.yaml", "bad.yaml"])
        .current_dir(home.path())
        .output()
        .unwrap();
    let err = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{err}");
    assert!(
        err.contains("none.yaml: no such file") && err.contains("bad.yaml:1:1"),
        "{err}"
    );
}

#[test]
fn a_cluster_is_made_from_a_few_words_and_is_valid() {
    let home = home();
    demo(&home);
    let dir = home.path().join("demo");
    for name in ["cp1.yaml", "w1.yaml", "secrets.yaml"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    assert_eq!(
        mode(&home.path().join(".config/machinectl/config.yaml")),
        0o600
    );
    let out = good(&home, &["validate", "demo/cp1.yaml", "demo/w1.yaml"]);
    assert_eq!(out.lines().count(), 2, "{out}");
    let worker = std::fs::read_to_string(dir.join("w1.yaml")).unwrap();
    let keys = worker.matches("BEGIN PRIVATE KEY").count();
    assert_eq!(keys, 1, "a worker gets its own identity's key and no other");
    let shown = good(&home, &["context", "show"]);
    assert!(
        shown.contains("user: ann") && !shown.contains("PRIVATE"),
        "{shown}"
    );
    let list = good(&home, &["context", "list"]);
    assert!(list.contains("demo") && list.contains("admin"), "{list}");
}

#[test]
fn nothing_is_overwritten_by_a_second_run() {
    let home = home();
    good(&home, &["gen", "secrets"]);
    let path = home.path().join("secrets.yaml");
    let before = std::fs::read(&path).unwrap();
    let (code, _, err) = run(&home, &["gen", "secrets"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("exists already") && err.contains("--force"),
        "{err}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    good(&home, &["gen", "secrets", "--force"]);
    assert_ne!(std::fs::read(&path).unwrap(), before);

    demo(&home);
    let secrets = std::fs::read(home.path().join("demo/secrets.yaml")).unwrap();
    let again = [
        "gen",
        "config",
        "--name",
        "demo",
        "--endpoint",
        "10.0.2.15",
        "--control-planes",
        "cp1",
    ];
    assert_eq!(run(&home, &again).0, 2);
    let forced: Vec<&str> = again.iter().copied().chain(["--force"]).collect();
    good(&home, &forced);
    assert_eq!(
        std::fs::read(home.path().join("demo/secrets.yaml")).unwrap(),
        secrets
    );
}

#[test]
fn bad_documents_are_refused_with_every_problem_and_its_place() {
    let home = home();
    std::fs::write(home.path().join("bad.yaml"),
        "apiVersion: machined/v1\nkind: MachineConfig\nmachine:\n  rolle: worker\n  hostname: A_b\n")
        .unwrap();
    let (code, _, err) = run(&home, &["validate", "bad.yaml"]);
    assert_eq!(code, 3, "{err}");
    assert!(
        err.contains("bad.yaml:4:3 ") && err.contains("bad.yaml:5:"),
        "{err}"
    );
    for bytes in [
        &b"a: [\n"[..],
        b"",
        b"\xff\xfe",
        b"- 1\n",
        b"apiVersion: v1\nkind: Pod\n",
    ] {
        std::fs::write(home.path().join("bad.yaml"), bytes).unwrap();
        let (code, _, err) = run(&home, &["validate", "bad.yaml"]);
        assert_eq!(code, 3, "{bytes:?}: {err}");
        assert!(err.starts_with("error: bad.yaml: "), "{err}");
    }
}

#[test]
fn missing_files_and_folders_are_named() {
    let home = home();
    let (code, _, err) = run(&home, &["validate", "nowhere.yaml"]);
    assert_eq!(
        (code, err.as_str()),
        (2, "error: read nowhere.yaml: no such file or folder\n")
    );
    assert_eq!(run(&home, &["validate", "."]).0, 2);
    assert_eq!(run(&home, &["validate"]).0, 2);
    assert_eq!(run(&home, &["gen", "enrolment", "cp1"]).0, 2);
}

#[test]
fn without_a_context_the_way_to_one_is_told() {
    let home = home();
    for args in [
        &["status"][..],
        &["reboot"],
        &["kubeconfig"],
        &["logs", "kubelet"],
    ] {
        let (code, _, err) = run(&home, args);
        assert_eq!(code, 2, "{args:?}");
        assert!(err.contains("no context") && err.contains("next:"), "{err}");
    }
    let (code, _, err) = run(&home, &["-c", "demo", "status"]);
    assert!(code == 2 && err.contains("no context demo"), "{err}");
}

#[test]
fn a_wrong_address_is_told_in_plain_words() {
    let home = home();
    demo(&home);
    let (code, _, err) = run(&home, &["status", "-n", "cp1"]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("connection was refused"), "{err}");
    let (code, out, _) = run(&home, &["status", "-n", "cp1", "-o", "json"]);
    assert_eq!(code, 4);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value[0]["error"]["code"], 4);
    let (code, _, err) = run(&home, &["status", "-n", "cp1=10.0.0.1:99999"]);
    assert!(code == 2 && err.contains("is not a port"), "{err}");
    let (code, out, _) = run(&home, &["health"]);
    assert!(code == 4 && out.contains("connection"), "{out}");
}

#[test]
fn the_wrong_file_is_not_sent() {
    let home = home();
    demo(&home);
    let (code, _, err) = run(&home, &["apply-config", "-n", "cp1", "-f", "demo/w1.yaml"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("is for w1, not for cp1"), "{err}");
    let (code, _, err) = run(&home, &["apply-config", "-f", "demo/w1.yaml"]);
    assert!(code == 2 && err.contains("knows no node w1"), "{err}");
    let (code, _, err) = run(
        &home,
        &[
            "apply-config",
            "-n",
            "cp1",
            "-n",
            "w1",
            "-f",
            "demo/w1.yaml",
        ],
    );
    assert!(
        code == 2 && err.contains("1 documents for 2 machines"),
        "{err}"
    );
}

#[test]
fn a_mistyped_code_is_found_before_a_machine_is_asked() {
    let home = home();
    demo(&home);
    let args = [
        "apply-config",
        "-n",
        "cp1",
        "-f",
        "demo/cp1.yaml",
        "--code",
        "ABCDE-12345",
    ];
    let (code, _, err) = run(&home, &args);
    assert!(code == 2 && err.contains("code"), "{err}");
}

#[test]
fn rendering_hides_secrets_unless_asked() {
    let home = home();
    demo(&home);
    let args = ["render", "demo/cp1.yaml", "--node-ip", "10.0.2.15"];
    let out = good(&home, &args);
    assert!(
        out.contains("/etc/kubernetes/manifests/kube-apiserver.yaml"),
        "{out}"
    );
    assert!(out.contains("<redacted>") && !out.contains("PRIVATE KEY"));
    good(
        &home,
        &["render", "demo/cp1.yaml", "-o", "out", "--show-secrets"],
    );
    let key = home.path().join("out/cp1/etc/kubernetes/pki/ca.key");
    assert_eq!(mode(&key), 0o600);
    assert!(
        std::fs::read_to_string(key)
            .unwrap()
            .contains("PRIVATE KEY")
    );
}

#[test]
fn an_enrolment_bundle_is_leaf_authority_key() {
    let home = home();
    good(&home, &["gen", "secrets"]);
    good(&home, &["gen", "enrolment", "cp1", "--ip", "10.0.2.15"]);
    let path = home.path().join("cp1.enrolment");
    assert_eq!(mode(&path), 0o600);
    let text = std::fs::read_to_string(path).unwrap();
    let labels: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("-----BEGIN"))
        .collect();
    assert_eq!(
        labels,
        [
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PRIVATE KEY-----"
        ]
    );
    let leaf = machine_pki::inspect(&text).unwrap();
    assert_eq!((leaf.common_name.as_str(), leaf.is_ca), ("cp1", false));
    assert_eq!(leaf.organizations, ["machined:enrolment"]);
    assert_eq!(
        run(&home, &["gen", "enrolment", "cp1"]).0,
        2,
        "twice in a row"
    );
}

#[test]
fn contexts_are_added_used_and_removed() {
    let home = home();
    good(&home, &["gen", "secrets"]);
    good(
        &home,
        &[
            "context",
            "add",
            "a",
            "--secrets",
            "secrets.yaml",
            "--role",
            "reader",
            "--user",
            "bob",
            "-n",
            "cp1=10.0.0.1",
        ],
    );
    good(&home, &["gen", "secrets", "-o", "other.yaml"]);
    let (code, _, err) = run(&home, &["context", "add", "a", "--secrets", "other.yaml"]);
    assert!(code == 2 && err.contains("another cluster"), "{err}");
    good(&home, &["context", "add", "b", "--secrets", "other.yaml"]);
    assert!(good(&home, &["context", "show", "a"]).contains("role: reader"));
    good(&home, &["context", "use", "a"]);
    good(&home, &["context", "remove", "a"]);
    assert_eq!(run(&home, &["context", "use", "a"]).0, 2);
    assert_eq!(run(&home, &["context", "add", "c"]).0, 2);
}

#[test]
fn manuals_completions_schema_and_help_are_made() {
    let home = home();
    good(&home, &["man", "pages"]);
    let page = home.path().join("pages/machinectl-gen-config.1");
    assert!(
        std::fs::read_to_string(page)
            .unwrap()
            .contains("machinectl gen config")
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            good(&home, &["completions", shell]).contains("apply-config"),
            "{shell}"
        );
    }
    let schema = good(&home, &["gen", "schema"]);
    assert!(
        serde_json::from_str::<serde_json::Value>(&schema)
            .unwrap()
            .is_object()
    );
    assert!(good(&home, &["version"]).starts_with("machinectl "));
    assert_eq!(run(&home, &["no-such-command"]).0, 2);
    assert_eq!(run(&home, &[]).0, 2);
}

#[test]
fn local_clusters_need_an_image_and_a_plain_name() {
    let home = home();
    let (code, _, err) = run(&home, &["cluster", "create"]);
    assert!(code == 2 && err.contains("--image"), "{err}");
    let (code, _, err) = run(&home, &["cluster", "create", "--image", "nowhere"]);
    assert!(
        code == 2 && err.contains("image nowhere: no such file"),
        "{err}"
    );
    let (code, _, err) = run(&home, &["cluster", "create", "--image", "."]);
    assert!(code == 2 && err.contains("it has no vmlinuz"), "{err}");
    let (code, _, err) = run(&home, &["cluster", "destroy", "../x"]);
    assert!(code == 2 && err.contains("no name for a cluster"), "{err}");
    assert_eq!(run(&home, &["cluster", "destroy", "local"]).0, 2);
    assert_eq!(good(&home, &["cluster", "list", "-o", "json"]), "[]\n");
}

#[test]
fn destroy_ends_only_processes_that_belong_to_the_cluster() {
    let home = home();
    let folder = home.path().join(".local/state/machinectl/clusters/local");
    std::fs::create_dir_all(&folder).unwrap();
    let machine = |name: &str| {
        serde_json::json!({ "name": name, "apiPort": 1, "kubernetesPort": 2, "id": "00",
            "address": null })
    };
    let state = serde_json::json!({ "name": "local", "sharedPort": null,
        "machines": [machine("cp1"), machine("w1")] });
    std::fs::write(folder.join("cluster.json"), state.to_string()).unwrap();
    let sleeping = |argument: &Path| {
        // Blocks without a child of its own, which would outlive it.
        let script = "read line; true";
        std::process::Command::new("sh")
            .args(["-c", script])
            .arg(argument)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    // One names its pidfile, as QEMU does; the other is a stranger that got an old number.
    let mut ours = sleeping(&folder.join("cp1.pid"));
    let mut stranger = sleeping(Path::new("elsewhere"));
    std::fs::write(folder.join("cp1.pid"), format!("{}\n", ours.id())).unwrap();
    std::fs::write(folder.join("w1.pid"), format!("{}\n", stranger.id())).unwrap();
    // `wait` would close its end, and the shell would read that.
    let held = (ours.stdin.take(), stranger.stdin.take());
    let list = good(&home, &["cluster", "list"]);
    assert!(
        list.contains("running") && list.contains("stopped"),
        "{list}"
    );
    let waiting = std::thread::spawn(move || ours.wait().unwrap());
    good(&home, &["cluster", "destroy"]);
    assert!(!waiting.join().unwrap().success());
    assert!(
        stranger.try_wait().unwrap().is_none(),
        "the stranger lives on"
    );
    drop(held);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(!folder.exists());
}

#[test]
fn a_further_worker_needs_the_clusters_secrets_and_leaves_its_context_whole() {
    let home = home();
    demo(&home);
    let before = good(&home, &["context", "show", "demo", "-o", "json"]);
    let words = ["gen", "config", "--name", "demo", "--endpoint", "10.0.2.15"];
    let further = |worker: &str, rest: &[&str]| {
        run(&home, &[&words[..], &["--workers", worker], rest].concat())
    };
    let (code, _, err) = further("w9", &["-o", "new"]);
    assert!(code == 2 && err.contains("no control plane"), "{err}");
    let secrets = ["--secrets", "demo/secrets.yaml", "-o"];
    let kept = std::fs::read(home.path().join("demo/secrets.yaml")).unwrap();
    let (code, _, err) = further("secrets", &[&secrets[..], &["demo", "--force"]].concat());
    assert!(code == 2 && err.contains("secrets.yaml"), "{err}");
    assert_eq!(
        kept,
        std::fs::read(home.path().join("demo/secrets.yaml")).unwrap()
    );

    let (code, _, err) = further("w9=10.0.0.9", &[&secrets[..], &["w9"]].concat());
    assert_eq!(code, 0, "{err}");
    let after = good(&home, &["context", "show", "demo", "-o", "json"]);
    let nodes = |text: &str| -> Vec<String> {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let nodes = value["nodes"].as_array().unwrap().iter();
        nodes.map(|node| node["name"].to_string()).collect()
    };
    let (before, after) = (nodes(&before), nodes(&after));
    assert!(!before.is_empty() && before.iter().all(|node| after.contains(node)));
    assert!(after.contains(&"\"w9\"".to_owned()), "{after:?}");

    // A whole cluster's secrets are not a worker's: said where they stand, and of no line too many.
    let stream = std::fs::read_to_string(home.path().join("w9/w9.yaml")).unwrap();
    let (config, _) = stream.split_once("---\n").unwrap();
    std::fs::write(home.path().join("bare.yaml"), config).unwrap();
    let words = ["validate", "bare.yaml", "--secrets", "demo/secrets.yaml"];
    let (code, _, err) = run(&home, &words);
    assert_eq!(code, 3, "{err}");
    let text = String::from_utf8(kept).unwrap();
    let line = 1 + text.lines().position(|line| line == "etcdCA:").unwrap();
    assert!(
        err.contains(&format!("demo/secrets.yaml:{line}:1 etcdCA")),
        "{err}"
    );
    assert!(!err.contains("remove"), "{err}");
}

#[test]
fn an_etcd_outside_the_cluster_is_named_and_its_client_is_part_of_the_secrets() {
    let home = home();
    let now = std::time::SystemTime::now();
    let authority =
        machine_pki::Authority::generate(machine_pki::AuthorityKind::Etcd, now).unwrap();
    let request = machine_pki::LeafRequest {
        common_name: "client".to_owned(),
        organizations: Vec::new(),
        usage: machine_pki::Usage::Client,
        dns: [].into(),
        ips: [].into(),
        lifetime: std::time::Duration::from_secs(3600),
    };
    let issued = authority.issue(&request, now).unwrap();
    let put = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    put("ca", authority.certificate_pem());
    put("crt", &issued.certificate_pem);
    put("key", issued.key.expose());
    let secrets = ["--etcd-ca", "ca", "--etcd-certificate", "crt", "--etcd-key"];
    let secrets = |key| [&["gen", "secrets"], &secrets[..], &[key]].concat();
    let (code, _, err) = run(&home, &secrets("crt"));
    assert!(code == 3 && err.contains("externalEtcd.key"), "{err}");
    good(&home, &secrets("key"));
    let words = [
        "gen",
        "config",
        "--name=demo",
        "--endpoint=10.0.2.15",
        "--control-planes=cp1",
        "--no-context",
        "--secrets=secrets.yaml",
    ];
    let endpoints = "--etcd-endpoints=https://192.0.2.21:2379,https://192.0.2.22:2379";
    let (code, _, err) = run(&home, &[&words[..], &[endpoints]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("warning: 2 members of etcd"), "{err}");
    let made = std::fs::read_to_string(home.path().join("demo/cp1.yaml")).unwrap();
    assert!(made.contains("externalEtcd:") && !made.contains("etcdCA:"));
    let (code, out, err) = run(&home, &["validate", "demo/cp1.yaml"]);
    assert!(code == 0 && out.contains("valid"), "{err}");
    assert!(err.contains("warning: demo/cp1.yaml: 2 members"), "{err}");

    // Not of the secrets of a cluster that has none.
    good(&home, &["gen", "secrets", "-o", "own.yaml"]);
    let words = words.map(|word| {
        word.replace("secrets.yaml", "own.yaml")
            .replace("demo", "own")
    });
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (code, _, err) = run(&home, &[&words[..], &[endpoints]].concat());
    assert!(
        code == 3 && err.contains("externalEtcd is missing"),
        "{err}"
    );
    assert!(err.contains("gen secrets --etcd-ca"), "{err}");
    let even = "--control-planes=a,b";
    let new = [
        "gen",
        "config",
        "--name=even",
        "--virtual-ip=192.0.2.9",
        "--no-context",
        even,
    ];
    let (code, _, err) = run(&home, &new);
    assert!(code == 0 && err.contains("warning: 2 members"), "{err}");
}

#[test]
fn as_what_etcd_runs_is_said_when_configs_are_made() {
    let home = tempfile::tempdir().unwrap();
    let with = |name: &str, more: &[&str]| {
        let name = format!("--name={name}");
        let nodes = [
            "--endpoint=10.0.2.15",
            "--control-planes=cp1",
            "--no-context",
        ];
        let words = [&["gen", "config", &name][..], &nodes, more].concat();
        run(&home, &words)
    };
    let (code, _, err) = with("demo", &["--etcd-run-as=unit"]);
    assert_eq!(code, 0, "{err}");
    let made = std::fs::read_to_string(home.path().join("demo/cp1.yaml")).unwrap();
    assert!(made.contains("  etcd:\n    runAs: unit\n"), "{made}");
    let (_, out, err) = run(&home, &["render", "demo/cp1.yaml"]);
    assert!(out.contains("/etc/etcd/etcd.env"), "{out}{err}");
    assert!(!out.contains("manifests/etcd.yaml"), "{out}");
    let (code, _, err) = with("other", &["--etcd-run-as=process"]);
    assert!(code == 3 && err.contains("cluster.etcd.runAs"), "{err}");
    assert!(err.contains("pod, unit"), "{err}");
}

#[test]
fn machines_of_role_etcd_are_named_with_their_addresses() {
    let home = tempfile::tempdir().unwrap();
    let with = |more: &[&str]| {
        let words = [
            "gen",
            "config",
            "--name=demo",
            "--endpoint=10.0.2.15",
            "--no-context",
        ];
        run(&home, &[&words[..], more].concat())
    };
    let nodes = "--etcd-nodes=etcd1=10.0.2.21,etcd2=10.0.2.22";
    let (code, _, err) = with(&["--control-planes=cp1", nodes]);
    assert!(code == 0 && err.contains("warning: 2 members"), "{err}");
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    let (etcd, cp) = (read("demo/etcd1.yaml"), read("demo/cp1.yaml"));
    for made in [&etcd, &cp] {
        let members = "  etcd:\n    members:\n      - \"10.0.2.21\"\n      - \"10.0.2.22\"\n";
        assert!(made.contains(members), "{made}");
    }
    assert!(etcd.contains("role: etcd") && etcd.contains("etcdCA:"));
    assert!(!etcd.contains("kubernetesCA:") && !etcd.contains("bootstrapToken"));
    assert!(cp.contains("etcdCA:") && cp.contains("kubernetesCA:"));
    let (_, out, err) = run(&home, &["render", "demo/etcd1.yaml", "--node-ip=10.0.2.21"]);
    assert!(out.contains("/etc/etcd/etcd.env"), "{out}{err}");
    assert!(
        !out.contains("kubelet") && !out.contains("containerd"),
        "{out}"
    );
    let (_, out, err) = run(&home, &["render", "demo/cp1.yaml", "--node-ip=10.0.2.11"]);
    let servers = "--etcd-servers=https://10.0.2.21:2379,https://10.0.2.22:2379";
    assert!(out.contains(servers), "{out}{err}");

    // One more control plane of it, later.
    let later = [
        "--control-planes=cp2",
        "--secrets=demo/secrets.yaml",
        "--etcd-members=10.0.2.21,10.0.2.22",
    ];
    let (code, _, err) = with(&later);
    assert_eq!(code, 0, "{err}");
    assert!(read("demo/cp2.yaml").contains("      - \"10.0.2.22\"\n"));
    let (code, _, err) = with(&["--control-planes=cp3", "--etcd-nodes=etcd4"]);
    assert!(code == 2 && err.contains("etcd4 has no address"), "{err}");
    let (code, _, err) = with(&["--control-planes=cp3", nodes, "--etcd-run-as=pod"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
}
