//! The corpus: what must be accepted, what must be refused and in which words.
//!
//! `UPDATE=1` rewrites the expected answers; read the difference before committing it.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::path::{Path, PathBuf};

use machine_config::{Role, json_schema, read, read_secrets, reference_markdown};

fn documents(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/documents")
        .join(folder);
    let entries = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no documents", folder.display());
    files
}

/// Compares with a file beside the sources, or rewrites it.
fn expect(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE").is_some() {
        #[allow(
            clippy::disallowed_methods,
            reason = "an expected answer, rewritten on demand"
        )]
        std::fs::write(path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs; with UPDATE=1 it would become:\n{actual}",
        path.display()
    );
}

#[test]
fn accepted_documents_are_accepted() {
    for path in documents("accepted") {
        if let Err(problems) = read(&std::fs::read(&path).unwrap()) {
            panic!("{}:\n{problems}", path.display());
        }
    }
}

#[test]
fn refused_documents_are_refused_in_these_words() {
    for path in documents("refused") {
        let Err(problems) = read(&std::fs::read(&path).unwrap()) else {
            panic!("{} is accepted", path.display());
        };
        expect(&path.with_extension("problems"), &format!("{problems}\n"));
    }
}

/// A released document keeps its meaning, also what it leaves to defaults.
#[test]
fn frozen_documents_keep_their_meaning() {
    for path in documents("frozen/v1") {
        let bundle = read(&std::fs::read(&path).unwrap()).unwrap_or_else(|p| panic!("{p}"));
        expect(
            &path.with_extension("meaning"),
            &format!("{:#?}\n", bundle.config),
        );
    }
}

#[test]
fn the_secrets_file_is_read_alone() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/secrets.yaml");
    let bytes = std::fs::read(path).unwrap();
    let secrets = read_secrets(&bytes).unwrap();
    assert!(secrets.etcd_ca.is_some_and(|ca| ca.key.is_some()));
    let problems = read(&bytes).unwrap_err();
    assert!(
        problems.to_string().contains("holds no MachineConfig"),
        "{problems}"
    );
}

#[test]
fn a_worker_is_told_every_key_it_must_not_hold() {
    let path = "tests/documents/refused/worker-with-keys.yaml";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let problems = read(&std::fs::read(path).unwrap()).unwrap_err().to_string();
    for field in [
        "machineCA.key",
        "kubernetesCA.key",
        "etcdCA",
        "frontProxyCA",
        "serviceAccount",
    ] {
        assert!(
            problems.contains(&format!(" {field}: ")),
            "{field} in\n{problems}"
        );
    }
}

#[test]
fn everything_is_read_into_its_place() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/accepted/everything.yaml");
    let bundle = read(&std::fs::read(path).unwrap()).unwrap();
    let config = bundle.config;
    assert_eq!(config.role(), Role::ControlPlane);
    assert_eq!(
        config.control_plane_endpoint().url(),
        "https://[fd00:2::10]:8443"
    );
    assert_eq!(config.kubelet().extra_args[0].value, "2");
    assert_eq!(config.kubelet().extra_config["maxPods"], 64);
    assert_eq!(config.sysctls()["net.core.somaxconn"], "65535");
    assert_eq!(config.pod_subnets().len(), 2);
    assert_eq!(config.api_server().extra_args.len(), 4);
    assert_eq!(config.network().interfaces.len(), 3);
}

#[test]
fn schema_is_as_written_down() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.json");
    expect(&path, &format!("{:#}\n", json_schema()));
}

#[test]
fn reference_is_as_written_down() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config-reference.md");
    expect(&path, &reference_markdown());
}
