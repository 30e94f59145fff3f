//! Which group a Kubernetes client certificate names, by version.
//!
//! Unlike the gates these changed in patch releases too: once a certificate of `system:masters`
//! leaks nothing can take its rights back, so Kubernetes has been moving away from it.

use machine_config::KubernetesVersion;

const MASTERS: Option<&str> = Some("system:masters");
const CLUSTER_ADMINS: Option<&str> = Some("kubeadm:cluster-admins");

/// From which 1.minor.patch on, and the group. Sorted; the last row that is not newer holds.
type Table = [(u16, u16, Option<&'static str>)];

/// `admin.conf`.
pub(super) const ADMIN: &Table = &[(0, 0, MASTERS), (29, 0, CLUSTER_ADMINS)];
/// The API server as the kubelets' client. Without a group its rights come from a binding to its
/// user name, which `cluster_objects` makes for every version.
pub(super) const KUBELET_CLIENT: &Table = &[
    (0, 0, MASTERS),
    (29, 0, CLUSTER_ADMINS),
    (33, 12, None),
    (34, 0, CLUSTER_ADMINS),
    (34, 8, None),
    (35, 0, CLUSTER_ADMINS),
    (35, 5, None),
    (36, 0, CLUSTER_ADMINS),
    (36, 1, None),
];
/// Clients of etcd, which looks at no group.
pub(super) const ETCD_CLIENT: &Table = &[(0, 0, MASTERS), (29, 0, None)];
/// `super-admin.conf`.
pub(super) const SUPER_ADMIN: &Table = &[(0, 0, MASTERS)];
/// The kubelet.
pub(super) const NODES: &Table = &[(0, 0, Some("system:nodes"))];
/// Everyone who is known by name alone.
pub(super) const NOBODY: &Table = &[];

/// The subject's O values.
pub(super) fn of(table: &Table, version: KubernetesVersion) -> Vec<String> {
    let release = (version.minor(), version.patch());
    let row = table
        .iter()
        .rev()
        .find(|(minor, patch, _)| (*minor, *patch) <= release);
    row.and_then(|(_, _, group)| *group)
        .map(str::to_owned)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_releases_decide() {
        let cases = [
            ("v1.20.2", "system:masters"),
            ("v1.28.15", "system:masters"),
            ("v1.29.0", "kubeadm:cluster-admins"),
            ("v1.33.11", "kubeadm:cluster-admins"),
            ("v1.33.12", ""),
            ("v1.34.7", "kubeadm:cluster-admins"),
            ("v1.34.8", ""),
            ("v1.35.4", "kubeadm:cluster-admins"),
            ("v1.35.5", ""),
            ("v1.36.0", "kubeadm:cluster-admins"),
            ("v1.36.1", ""),
            ("v1.37.0", ""),
        ];
        for (version, group) in cases {
            assert_eq!(
                of(KUBELET_CLIENT, version.parse().unwrap()).join(","),
                group,
                "{version}"
            );
        }
        assert_eq!(
            of(ETCD_CLIENT, "v1.28.0".parse().unwrap()),
            ["system:masters"]
        );
        assert!(of(ETCD_CLIENT, "v1.29.0".parse().unwrap()).is_empty());
        assert_eq!(
            of(ADMIN, "v1.37.0".parse().unwrap()),
            ["kubeadm:cluster-admins"]
        );
        assert!(of(NOBODY, "v1.20.0".parse().unwrap()).is_empty());
    }

    #[test]
    fn tables_are_sorted() {
        for table in [
            ADMIN,
            KUBELET_CLIENT,
            ETCD_CLIENT,
            SUPER_ADMIN,
            NODES,
            NOBODY,
        ] {
            assert!(table.is_sorted_by_key(|(minor, patch, _)| (*minor, *patch)));
        }
    }
}
