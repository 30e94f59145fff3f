//! What must hold for every version, not only for those with a golden.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::collections::BTreeSet;

use machine_config::KubernetesVersion;

const CONFIG: &str = include_str!("golden/v1.20.2-controlplane/config.yaml");

fn config_text(minor: u16, image: &str) -> String {
    CONFIG
        .replace("v1.20.2", &format!("v1.{minor}.3"))
        .replace("embedded", image)
}

fn content(minor: u16, image: &str, path: &str) -> String {
    let files = support::files(&support::config(&config_text(minor, image)));
    files
        .iter()
        .find(|file| file.path.ends_with(path))
        .unwrap()
        .content
        .expose()
        .to_owned()
}

/// `(flag, file, first minor whose binary refuses it)`.
const REFUSED: &[(&str, &str, u16)] = &[
    ("--insecure-port=", "kube-apiserver.yaml", 24),
    ("--port=", "kube-controller-manager.yaml", 24),
    ("--port=", "kube-scheduler.yaml", 24),
    ("--network-plugin=", "kubeadm-flags.env", 24),
    ("--container-runtime=", "kubeadm-flags.env", 27),
    ("--pod-infra-container-image=", "kubeadm-flags.env", 35),
    ("--logtostderr=", "kube-apiserver.yaml", 26),
];

#[test]
fn no_binary_is_given_a_flag_it_refuses() {
    for minor in KubernetesVersion::OLDEST_MINOR..=KubernetesVersion::NEWEST_MINOR {
        for image in ["embedded", "registry.example.org/k8s"] {
            for (flag, file, from) in REFUSED.iter().filter(|refused| refused.2 <= minor) {
                let text = content(minor, image, file);
                assert!(
                    !text.contains(flag),
                    "1.{minor} {file}: {flag} is gone since 1.{from}"
                );
            }
        }
    }
}

#[test]
fn etcd_is_given_flags_by_the_etcd_that_runs() {
    for minor in KubernetesVersion::OLDEST_MINOR..=KubernetesVersion::NEWEST_MINOR {
        // The OS image's etcd is 3.5 whatever the Kubernetes version.
        let embedded = content(minor, "embedded", "etcd.yaml");
        assert!(
            embedded.contains("--experimental-initial-corrupt-check=true"),
            "1.{minor}"
        );
        assert!(!embedded.contains("--feature-gates="), "1.{minor}");
        // kubeadm's is 3.6 from 1.34, and 3.7 exits on an experimental flag.
        let registry = content(minor, "registry.example.org/k8s", "etcd.yaml");
        assert_eq!(
            registry.contains("--feature-gates="),
            minor >= 34,
            "1.{minor}"
        );
        assert_eq!(
            registry.contains("--experimental-"),
            (24..34).contains(&minor),
            "1.{minor}"
        );
    }
}

#[test]
fn a_manifest_has_one_uid_for_its_content() {
    let uid = |text: &str| {
        text.lines()
            .find(|line| line.contains("uid:"))
            .unwrap()
            .to_owned()
    };
    let base = config_text(20, "embedded");
    let of = |text: &str| {
        let files = support::files(&support::config(text));
        let pods = files
            .iter()
            .filter(|file| file.path.contains("/manifests/"));
        pods.map(|pod| uid(pod.content.expose()))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(of(&base).len(), 4, "each pod has its own");
    assert_eq!(of(&base), of(&base), "and keeps it");
    let changed =
        format!("{base}  scheduler:\n    extraArgs:\n    - name: v\n      value: \"2\"\n");
    let common = of(&base).intersection(&of(&changed)).count();
    assert_eq!(common, 3, "only the changed pod has another");
    let other_node = base.replace("hostname: cp1", "hostname: cp2");
    assert_eq!(
        of(&base).intersection(&of(&other_node)).count(),
        0,
        "no two nodes share one"
    );
}
