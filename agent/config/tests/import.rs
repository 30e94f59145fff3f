//! What becomes of kubeadm's documents, and in which words.
//!
//! `UPDATE=1` rewrites the expected answers; read the difference before committing it.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod import_support;

use std::path::Path;

use import_support::{documents, imported, source, words};
use machine_config::import::{Refused, Words, kubeadm};
use machine_config::{Role, read};

/// Compares with a file beside the input, or rewrites it.
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

fn listed(refused: &Refused) -> String {
    let each = refused.problems.iter();
    each.map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn documents_become_these_configs() {
    for path in documents("accepted") {
        let imported =
            imported(&path).unwrap_or_else(|r| panic!("{}\n{}", path.display(), listed(&r)));
        read(imported.config.as_bytes()).unwrap_or_else(|p| panic!("{}\n{p}", path.display()));
        let left: String = imported.left.iter().map(|f| format!("# {f}\n")).collect();
        expect(&path.with_extension("imported"), &(imported.config + &left));
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_these_words() {
    for path in documents("refused") {
        let Err(refused) = imported(&path) else {
            panic!("{} is accepted", path.display());
        };
        expect(&path.with_extension("problems"), &listed(&refused));
    }
}

#[test]
fn no_finding_repeats_a_token() {
    for path in documents("accepted") {
        for finding in imported(&path).unwrap().left {
            let text = finding.to_string();
            assert!(!text.contains("0123456789abcdef"), "{text}");
            assert!(!text.contains("11111111"), "{text}");
        }
    }
}

#[test]
fn documents_of_several_files_are_one_input() {
    let init = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: InitConfiguration\n\
                nodeRegistration: {name: cp1, oops: 1}\n";
    let cluster = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n\
                   kubernetesVersion: v1.26.0\ncontrolPlaneEndpoint: api.example\nhm: 2\n";
    let words = Words {
        cluster_id: "0123456789abcdef".into(),
        ..Words::default()
    };
    let sources = [source("a.yaml", init), source("b.yaml", cluster)];
    let made = kubeadm(&sources, &words).unwrap();
    let bundle = read(made.config.as_bytes()).unwrap();
    assert_eq!(bundle.config.role(), Role::ControlPlane);
    assert_eq!(bundle.config.cluster_id(), "0123456789abcdef");
    let places: Vec<_> = made
        .left
        .iter()
        .map(|f| (f.file.as_str(), f.problem.line))
        .collect();
    assert_eq!(places, [("a.yaml", 3), ("b.yaml", 5)]);
    let again = [source("a.yaml", cluster), source("b.yaml", cluster)];
    let refused = listed(&kubeadm(&again, &words).unwrap_err());
    assert!(
        refused.starts_with("b.yaml:1:1 ClusterConfiguration: "),
        "{refused}"
    );
    assert!(refused.contains("a.yaml:1"), "{refused}");
}

#[test]
fn too_much_is_refused() {
    let words = words("");
    let many: String = (0..5_000).map(|n| format!("unknown{n}: 1\n")).collect();
    let head = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n";
    for text in [
        head.to_owned() + &many,
        head.to_owned() + "apiServer:\n  extraArgs:\n    " + &many.replace('\n', "\n    "),
        format!("{head}clusterName: {}\n", "x".repeat(2 << 20)),
        format!("{head}networking: {}", "[".repeat(5000)),
    ] {
        assert!(kubeadm(&[source("in.yaml", &text)], &words).is_err());
    }
}
