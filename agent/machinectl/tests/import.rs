//! `machinectl import kubeadm` as people type it. No machine is needed.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what fails by failing"
)]

use std::os::unix::fs::PermissionsExt;

use assert_cmd::Command;
use tempfile::TempDir;

const CLUSTER: &str = "apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
clusterName: lab
kubernetesVersion: v1.20.2
controlPlaneEndpoint: 10.0.0.10
apiServer:
  extraArgs:
    v: \"2\"
    secure-port: \"7443\"
";
const INIT: &str = "apiVersion: kubeadm.k8s.io/v1beta3
kind: InitConfiguration
nodeRegistration:
  name: cp1
";
const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta3
kind: JoinConfiguration
nodeRegistration:
  name: w1
discovery:
  bootstrapToken:
    token: abcdef.0123456789abcdef
    apiServerEndpoint: 10.0.0.10:6443
";

fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("cluster.yaml", CLUSTER),
        ("init.yaml", INIT),
        ("join.yaml", JOIN),
    ] {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    home
}

/// Runs it and gives exit code, standard output and standard error.
fn run(home: &TempDir, args: &str, input: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_machinectl"))
        .env_clear()
        .env("HOME", home.path())
        .current_dir(home.path())
        .args(args.split_whitespace())
        .write_stdin(input)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

fn good(home: &TempDir, args: &str) -> (String, String) {
    let (code, out, err) = run(home, args, "");
    assert_eq!(code, 0, "{args}: {err}");
    (out, err)
}

#[test]
fn a_control_plane_and_then_a_worker_become_one_cluster() {
    let home = home();
    let (_, told) = good(&home, "import kubeadm init.yaml cluster.yaml");
    assert!(told.contains("1 part has no counterpart"), "{told}");
    let place = "cluster.yaml:9:5 ClusterConfiguration.apiServer.extraArgs.secure-port: ";
    assert!(told.contains(place), "{told}");
    assert!(told.contains("wrote lab/cp1.yaml (controlplane)"), "{told}");
    let next = told.lines().last().unwrap();
    let next = next.strip_prefix("next: machinectl ").unwrap();
    good(&home, &next.replace("ADDRESS", "127.0.0.1"));
    for file in ["secrets.yaml", "cp1.yaml"] {
        let path = home.path().join("lab").join(file);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    let (_, told) = good(&home, "import kubeadm join.yaml cluster.yaml");
    assert!(told.contains("using lab/secrets.yaml"), "{told}");
    assert!(!told.contains("abcdef.0123"), "{told}");
    let (valid, _) = good(&home, "validate lab/cp1.yaml lab/w1.yaml");
    assert!(
        valid.contains("controlplane cp1 of cluster lab, Kubernetes v1.20.2, with secrets"),
        "{valid}"
    );
    assert!(
        valid.contains("worker w1 of cluster lab, Kubernetes v1.20.2, with secrets"),
        "{valid}"
    );
    let text = |file: &str| std::fs::read_to_string(home.path().join("lab").join(file)).unwrap();
    let worker = text("w1.yaml");
    let keys = worker.matches("BEGIN PRIVATE").count();
    assert_eq!(
        keys, 1,
        "a worker holds its own identity's key and no other"
    );
    let id = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("  id: "));
        line.unwrap().to_owned()
    };
    assert_eq!(id(&worker), id(&text("cp1.yaml")));
    let (rendered, _) = good(&home, "render lab/cp1.yaml --node-ip 10.0.0.11");
    assert!(rendered.contains("--v=2"), "{rendered}");

    let (code, _, err) = run(&home, "import kubeadm init.yaml cluster.yaml", "");
    assert!(
        code == 2 && err.contains("lab/cp1.yaml exists already"),
        "{err}"
    );
    good(&home, "import kubeadm init.yaml cluster.yaml --force");
    assert_eq!(
        id(&worker),
        id(&text("cp1.yaml")),
        "secrets are never replaced"
    );
}

#[test]
fn a_config_alone_is_printed_where_secrets_name_the_cluster() {
    let home = home();
    let (code, _, err) = run(&home, "import kubeadm init.yaml cluster.yaml -o -", "");
    assert!(code == 2 && err.contains("--secrets FILE"), "{err}");
    good(&home, "gen secrets");
    let both = format!("{INIT}---\n{CLUSTER}");
    let (code, out, err) = run(&home, "import kubeadm - --secrets secrets.yaml -o -", &both);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("-:14:5 ClusterConfiguration"), "{err}");
    assert!(!out.contains("PRIVATE"), "{out}");
    std::fs::write(home.path().join("cp1.yaml"), out).unwrap();
    good(&home, "validate cp1.yaml");
    good(&home, "validate cp1.yaml --secrets secrets.yaml");
}

#[test]
fn what_cannot_be_imported_leaves_nothing_behind() {
    let home = home();
    let (code, _, err) = run(&home, "import kubeadm cluster.yaml", "");
    assert!(
        code == 3 && err.contains("--hostname") && err.contains("--role"),
        "{err}"
    );
    let (code, _, err) = run(&home, "import kubeadm join.yaml cluster.yaml", "");
    assert!(
        code == 2 && err.contains("no control plane machine"),
        "{err}"
    );
    let broken = CLUSTER.replace("10.0.0.10", "https://10.0.0.10");
    let (code, _, err) = run(&home, "import kubeadm init.yaml -", &broken);
    assert!(
        code == 3 && err.contains("-:5:1 ClusterConfiguration.controlPlaneEndpoint"),
        "{err}"
    );
    let (code, _, err) = run(&home, "import kubeadm nowhere.yaml", "");
    assert!(
        code == 2 && err.contains("nowhere.yaml: no such file"),
        "{err}"
    );
    let (code, _, err) = run(
        &home,
        "import kubeadm init.yaml cluster.yaml --hostname secrets",
        "",
    );
    assert!(code == 2 && err.contains("secrets.yaml"), "{err}");
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}
