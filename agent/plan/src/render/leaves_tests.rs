//! Which leaves there are, by role and version. Their fields are compared with kubeadm's in
//! `tests/kubeadm_certs.rs`.

use machine_config::{CaPair, ClusterSecrets};
use machine_pki::Secret;

use super::super::authorities::{BOOTSTRAP_KUBECONFIG, authorities};
use super::*;

fn config(role: &str, version: &str) -> MachineConfig {
    let text = format!(
        "apiVersion: machined/v1\nkind: MachineConfig\n\
         machine:\n  role: {role}\n  hostname: n1\n  certSANs: [api.example.test, 198.51.100.9]\n\
         cluster:\n  name: demo\n  id: 3f0c1d2e4b5a69788796a5b4c3d2e1f0\n  \
         controlPlaneEndpoint: 192.0.2.100:6443\n  kubernetesVersion: {version}\n"
    );
    machine_config::read(text.as_bytes())
        .unwrap_or_else(|problems| panic!("{problems}"))
        .config
}

fn facts() -> HostFacts {
    HostFacts::at("192.0.2.10".parse().unwrap())
}

fn find(version: &str, name: &str) -> Option<Leaf> {
    leaves(&config("controlplane", version), &facts())
        .into_iter()
        .find(|leaf| leaf.name == name)
}

#[test]
fn a_worker_signs_nothing() {
    assert_eq!(leaves(&config("worker", "v1.33.0"), &facts()), []);
}

#[test]
fn a_worker_gets_one_certificate_and_a_token() {
    let pair = |key: Option<Secret>| CaPair {
        certificate: "CERTIFICATE".to_owned(),
        key,
    };
    let secrets = ClusterSecrets {
        machine_ca: pair(None),
        // Not even when a document has a key that it should not have.
        kubernetes_ca: Some(pair(Some(Secret::new("KEY".to_owned())))),
        etcd_ca: Some(pair(None)),
        external_etcd: None,
        front_proxy_ca: None,
        service_account: None,
        machine_identity: None,
        bootstrap_token: Some(Secret::new("abcdef.0123456789abcdef".to_owned())),
        encryption_key: None,
    };
    let files = authorities(&config("worker", "v1.33.0"), &secrets);
    let seen: Vec<_> = files
        .iter()
        .map(|f| (f.path.as_str(), f.mode, f.content.is_secret()))
        .collect();
    let ca = "/etc/kubernetes/pki/ca.crt";
    assert_eq!(
        seen,
        [(ca, 0o644, false), (BOOTSTRAP_KUBECONFIG, 0o600, true)]
    );
    assert!(
        !files
            .iter()
            .any(|file| file.content.expose().contains("KEY"))
    );
    assert!(
        files[1]
            .content
            .expose()
            .contains("server: https://192.0.2.100:6443\n")
    );
    assert!(
        files[1]
            .content
            .expose()
            .contains("token: abcdef.0123456789abcdef\n")
    );
}

#[test]
fn the_all_powerful_kubeconfig_has_a_name_of_its_own_from_1_29() {
    for (version, admin) in [("v1.28.0", "admin"), ("v1.29.0", "super-admin")] {
        let path = cluster_admin_kubeconfig(version.parse().unwrap());
        assert_eq!(path, format!("/etc/kubernetes/{admin}.conf"));
        let leaf = find(version, &format!("{admin}.conf")).unwrap();
        assert_eq!(leaf.request.organizations, ["system:masters"]);
    }
    assert_eq!(find("v1.28.0", "super-admin.conf"), None);
    let admin = find("v1.29.0", "admin.conf").unwrap();
    assert_eq!(admin.request.organizations, ["kubeadm:cluster-admins"]);
}

#[test]
fn the_kubelet_asks_its_own_api_server_from_1_33() {
    let server = |version| {
        find(version, "kubelet.conf")
            .unwrap()
            .server()
            .unwrap()
            .to_owned()
    };
    assert_eq!(server("v1.32.0"), "https://192.0.2.100:6443");
    assert_eq!(server("v1.33.0"), "https://192.0.2.10:6443");
}

#[test]
fn the_kubelet_asks_the_load_balancer_where_there_is_one() {
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    for (words, balanced) in [
        ("virtualIP: { address: 192.0.2.100 }", true),
        ("nodeLoadBalancer: true", true),
        ("nodeLoadBalancer: false", false),
    ] {
        let text = format!(
            "apiVersion: machined/v1\nkind: MachineConfig\n\
             machine:\n  role: controlplane\n  hostname: n1\n\
             cluster:\n  name: demo\n  id: 3f0c1d2e4b5a69788796a5b4c3d2e1f0\n  \
             controlPlaneEndpoint: 192.0.2.100:6443\n  kubernetesVersion: v1.33.0\n  {words}\n"
        );
        let config = machine_config::read(text.as_bytes()).unwrap().config;
        let leaves = leaves(&config, &facts());
        let leaf = |name| leaves.iter().find(|leaf| leaf.name == name).unwrap();
        let server = leaf("kubelet.conf").server();
        assert_eq!(
            server == Some("https://127.0.0.1:7445"),
            balanced,
            "{words}"
        );
        let named = leaf("apiserver").request.ips.contains(&loopback);
        assert_eq!(named, balanced, "{words}");
    }
}

#[test]
fn names_are_unique_and_places_are_kubeadms() {
    for minor in KubernetesVersion::OLDEST_MINOR..=KubernetesVersion::NEWEST_MINOR {
        let leaves = leaves(&config("controlplane", &format!("v1.{minor}.0")), &facts());
        let names: BTreeSet<_> = leaves.iter().map(|leaf| leaf.name).collect();
        assert_eq!(names.len(), leaves.len());
        assert!(
            leaves
                .iter()
                .all(|leaf| leaf.request.organizations.len() <= 1)
        );
        for leaf in leaves {
            let path = match leaf.place {
                Place::Pair { certificate, .. } => certificate,
                Place::Kubeconfig { path, .. } => path,
            };
            assert!(path.starts_with("/etc/kubernetes/") && path.contains(leaf.name));
        }
    }
}

#[test]
fn the_machine_api_answers_to_every_name_for_a_day() {
    let addresses = [
        "192.0.2.10".parse().unwrap(),
        "2001:db8::10".parse().unwrap(),
    ];
    let leaf = machine_api_leaf(&config("worker", "v1.33.0"), &addresses);
    assert_eq!(leaf.common_name, "n1");
    assert_eq!(leaf.organizations, ["machined:node"]);
    assert_eq!(leaf.lifetime, Lifetime::MACHINE_API);
    assert_eq!(
        leaf.dns,
        ["api.example.test", "n1"].map(str::to_owned).into()
    );
    let ips = [
        "127.0.0.1",
        "::1",
        "192.0.2.10",
        "2001:db8::10",
        "198.51.100.9",
    ];
    assert_eq!(leaf.ips, ips.map(|ip| ip.parse().unwrap()).into());
}
