//! Which image a component runs from, and which etcd that is.

use machine_config::{ComponentSource, EMBEDDED_IMAGE, KubernetesVersion};

use super::gates;

/// Where the image's own Kubernetes binaries are.
pub const EMBEDDED_BINARIES: &str = "/usr/lib/kubernetes/bin";

/// Tags that kubeadm of a minor pins: `(minor, etcd, coredns)`. A minor without its own row takes
/// the row above it.
const PINNED: [(u16, &str, &str); 17] = [
    (20, "3.4.13-0", "1.7.0"),
    (21, "3.4.13-0", "v1.8.0"),
    (22, "3.5.0-0", "v1.8.4"),
    (23, "3.5.1-0", "v1.8.6"),
    (24, "3.5.3-0", "v1.8.6"),
    (25, "3.5.4-0", "v1.9.3"),
    (26, "3.5.6-0", "v1.9.3"),
    (27, "3.5.7-0", "v1.10.1"),
    (28, "3.5.9-0", "v1.10.1"),
    (29, "3.5.10-0", "v1.11.1"),
    (30, "3.5.12-0", "v1.11.1"),
    (31, "3.5.24-0", "v1.11.3"),
    (33, "3.5.24-0", "v1.12.0"),
    (34, "3.6.11-0", "v1.12.1"),
    (35, "3.6.11-0", "v1.13.1"),
    (36, "3.6.11-0", "v1.14.2"),
    (37, "3.7.0-0", "v1.14.6"),
];

/// The etcd that the OS image carries, whatever the Kubernetes version.
const EMBEDDED_ETCD: (u16, u16) = (3, 5);

/// How a container gets its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// The image reference.
    pub(super) image: String,
    /// The program's name or path: the first word of the command.
    pub(super) path: String,
    /// `Never` for what the OS image brings, or the kubelet would look for it in a registry.
    pub(super) pull_policy: &'static str,
    /// The program comes from the host's read-only `/usr`, which must be mounted.
    pub(super) from_host: bool,
}

/// A Kubernetes component, such as `kube-apiserver`.
#[must_use]
pub(super) fn component(
    source: &ComponentSource,
    name: &str,
    version: KubernetesVersion,
) -> Program {
    match source {
        ComponentSource::Embedded => embedded(format!("{EMBEDDED_BINARIES}/{name}")),
        ComponentSource::Registry(prefix) => registry(
            format!("{}/{name}:{version}", prefix.trim_end_matches('/')),
            name,
        ),
    }
}

/// etcd.
#[must_use]
pub(super) fn etcd(source: &ComponentSource, version: KubernetesVersion) -> Program {
    match source {
        ComponentSource::Embedded => embedded("/usr/bin/etcd".to_owned()),
        ComponentSource::Registry(prefix) => registry(
            format!(
                "{}/etcd:{}",
                prefix.trim_end_matches('/'),
                pinned(version).1
            ),
            "etcd",
        ),
    }
}

/// CoreDNS, which only a registry has.
#[must_use]
pub(super) fn coredns(prefix: &str, version: KubernetesVersion) -> String {
    let folder = if gates::COREDNS_FOLDER.holds(version) {
        "coredns/"
    } else {
        ""
    };
    format!(
        "{}/{folder}coredns:{}",
        prefix.trim_end_matches('/'),
        pinned(version).2
    )
}

/// What the etcd that will run understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EtcdTraits {
    /// Feature gates and plain flags in place of `experimental-*`: etcd 3.6, and the only way in 3.7.
    pub(super) feature_gates: bool,
    /// `/livez` and `/readyz` answer.
    pub(super) livez: bool,
    /// The corruption check at start is wanted.
    pub(super) corrupt_check: bool,
    /// Progress notifications are wanted.
    pub(super) watch_progress: bool,
}

/// The traits follow the etcd that runs, not the Kubernetes version beside it: the OS image's etcd
/// knows more than kubeadm 1.20 would ask of it.
#[must_use]
pub(super) fn etcd_traits(source: &ComponentSource, version: KubernetesVersion) -> EtcdTraits {
    match source {
        ComponentSource::Embedded => EtcdTraits {
            feature_gates: EMBEDDED_ETCD >= (3, 6),
            livez: true,
            corrupt_check: true,
            watch_progress: true,
        },
        ComponentSource::Registry(_) => EtcdTraits {
            feature_gates: is_at_least_3_6(pinned(version).1),
            livez: gates::ETCD_LIVEZ.holds(version),
            corrupt_check: gates::ETCD_CORRUPT_CHECK.holds(version),
            watch_progress: gates::ETCD_WATCH_PROGRESS.holds(version),
        },
    }
}

fn is_at_least_3_6(tag: &str) -> bool {
    let minor = tag
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse::<u16>().ok());
    tag.starts_with("3.") && minor.is_some_and(|minor| minor >= 6)
}

fn pinned(version: KubernetesVersion) -> (u16, &'static str, &'static str) {
    let row = PINNED.iter().rev().find(|row| row.0 <= version.minor());
    *row.unwrap_or(&PINNED[0])
}

fn embedded(path: String) -> Program {
    Program {
        image: EMBEDDED_IMAGE.to_owned(),
        path,
        pull_policy: "Never",
        from_host: true,
    }
}

fn registry(image: String, name: &str) -> Program {
    Program {
        image,
        path: name.to_owned(),
        pull_policy: "IfNotPresent",
        from_host: false,
    }
}
