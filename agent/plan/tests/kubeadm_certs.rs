//! Our certificates and kubeconfigs, made for real, against those of kubeadm 1.20.2 for the same
//! clusters. What kubeadm wrote is in `kubeadm_certs/*.json`, put down by `capture.py` there.
//!
//! Every field that differs must be in [`DIFFERENCES`], and every row of it must be needed.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test may read files and stop at what it did not expect

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use machine_config::{CaPair, ClusterSecrets, MachineConfig, ServiceAccount};
use machine_pki::{
    Authority, AuthorityKind, Secret, ServiceAccountKey, Usage, inspect, inspect_key, issued_by,
    key_matches,
};
use machine_plan::facts::HostFacts;
use machine_plan::render::{self, Leaf, Place};
use serde_json::Value;

/// File (`*`: every one), field, reason.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "*",
        "key",
        "ECDSA P-256: a tenth of the time to make and to use, and smaller",
    ),
    (
        "*",
        "keyUsage",
        "no keyEncipherment, which an ECDSA key cannot do; authorities add cRLSign",
    ),
    (
        "apiserver",
        "ips",
        "every address of the node, so that its API answers whichever of them a client dials",
    ),
    (
        "etcd/server",
        "ips",
        "every address of the node: health is asked for at any of them",
    ),
    (
        "etcd/peer",
        "ips",
        "every address of the node: etcd refuses a peer whose source address its certificate lacks",
    ),
];

const NAMED: &str = "\
apiVersion: machined/v1
kind: MachineConfig
machine:
  role: controlplane
  hostname: cp1
cluster:
  name: demo
  id: 3f0c1d2e4b5a69788796a5b4c3d2e1f0
  controlPlaneEndpoint: api.example.test:8443
  kubernetesVersion: v1.20.2
  networking:
    podSubnet: 10.244.0.0/16
    serviceSubnet: 10.96.0.0/12
    dnsDomain: cluster.example
  apiServer:
    certSANs: [extra.example.test, 198.51.100.7]
  etcd:
    serverCertSANs: [etcd.example.test]
    peerCertSANs: [198.51.100.8]
";

const IPV6: &str = "\
apiVersion: machined/v1
kind: MachineConfig
machine:
  role: controlplane
  hostname: cp6
cluster:
  name: six
  id: 3f0c1d2e4b5a69788796a5b4c3d2e1f0
  controlPlaneEndpoint: '[2001:db8::100]:6443'
  kubernetesVersion: v1.20.2
  networking:
    podSubnet: 2001:db8:1::/56
    serviceSubnet: 2001:db8:2::/112
    dnsDomain: cluster.local
";

/// Within the life of nothing that is on the disk; the authorities are made now.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_893_456_000)
}

struct Cluster {
    config: MachineConfig,
    facts: HostFacts,
    authorities: BTreeMap<AuthorityKind, Authority>,
    kubeadm: Value,
}

fn cluster(name: &str, config: &str, node_ip: &str) -> Cluster {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/kubeadm_certs/{name}.json"));
    let node_ip: IpAddr = node_ip.parse().unwrap();
    let config = machine_config::read(config.as_bytes())
        .unwrap_or_else(|e| panic!("{e}"))
        .config;
    let authority = |kind| (kind, Authority::generate(kind, now()).unwrap());
    Cluster {
        config,
        // The second address is one that kubeadm was not told of.
        facts: HostFacts {
            addresses: vec![node_ip, "203.0.113.5".parse().unwrap()],
            ..HostFacts::at(node_ip)
        },
        authorities: AuthorityKind::ALL.map(authority).into(),
        kubeadm: serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap(),
    }
}

fn clusters() -> [Cluster; 2] {
    [
        cluster("named", NAMED, "192.0.2.10"),
        cluster("ipv6", IPV6, "2001:db8::10"),
    ]
}

type Fields = BTreeMap<&'static str, BTreeSet<String>>;

/// kubeadm's facts, as openssl read them.
fn theirs(facts: &Value) -> Fields {
    let list = |field: &str| -> BTreeSet<String> {
        let items = facts[field].as_array().unwrap();
        items
            .iter()
            .map(|item| item.as_str().unwrap().to_owned())
            .collect()
    };
    let word = |field: &str| BTreeSet::from([facts[field].to_string().replace('"', "")]);
    let usage = |name: &String| match name.as_str() {
        "Digital Signature" => "digitalSignature".to_owned(),
        "Key Encipherment" => "keyEncipherment".to_owned(),
        "Certificate Sign" => "keyCertSign".to_owned(),
        "TLS Web Server Authentication" => "server".to_owned(),
        "TLS Web Client Authentication" => "client".to_owned(),
        other => panic!("usage {other}"),
    };
    let ip = |text: &String| text.parse::<IpAddr>().unwrap().to_string();
    BTreeMap::from([
        ("commonName", word("commonName")),
        ("organizations", list("organizations")),
        ("issuer", word("issuer")),
        ("authority", word("authority")),
        ("keyUsage", list("keyUsage").iter().map(usage).collect()),
        (
            "extendedKeyUsage",
            list("extendedKeyUsage").iter().map(usage).collect(),
        ),
        ("dns", list("dns")),
        ("ips", list("ips").iter().map(ip).collect()),
        ("days", word("days")),
        ("key", word("key")),
    ])
}

/// The same of a certificate of ours.
fn ours(pem: &str) -> Fields {
    let facts = inspect(pem).unwrap();
    let key = inspect_key(pem).unwrap();
    let usage: &[&str] = match facts.usage {
        Some(Usage::Server) => &["server"],
        Some(Usage::Client) => &["client"],
        Some(Usage::Both) => &["client", "server"],
        None => &[],
    };
    let days = (facts.not_after - facts.not_before) / (24 * 60 * 60);
    BTreeMap::from([
        ("commonName", [facts.common_name].into()),
        ("organizations", facts.organizations.into_iter().collect()),
        ("issuer", [facts.issuer_common_name].into()),
        ("authority", [facts.is_ca.to_string()].into()),
        ("keyUsage", key.usages.into_iter().collect()),
        (
            "extendedKeyUsage",
            usage.iter().map(|word| (*word).to_owned()).collect(),
        ),
        ("dns", facts.dns),
        ("ips", facts.ips.iter().map(ToString::to_string).collect()),
        ("days", [days.to_string()].into()),
        ("key", [key.algorithm].into()),
    ])
}

impl Cluster {
    fn leaves(&self) -> Vec<Leaf> {
        render::leaves(&self.config, &self.facts)
    }

    fn issue(&self, leaf: &Leaf) -> (String, Secret) {
        let issued = self.authorities[&leaf.authority]
            .issue(&leaf.request, now())
            .unwrap();
        (issued.certificate_pem, issued.key)
    }

    fn secrets(&self) -> ClusterSecrets {
        let pair = |kind| CaPair {
            certificate: self.authorities[&kind].certificate_pem().to_owned(),
            key: Some(self.authorities[&kind].key_pem().clone()),
        };
        let account = ServiceAccountKey::generate().unwrap();
        ClusterSecrets {
            machine_ca: pair(AuthorityKind::Machine),
            kubernetes_ca: Some(pair(AuthorityKind::Kubernetes)),
            etcd_ca: Some(pair(AuthorityKind::Etcd)),
            external_etcd: None,
            front_proxy_ca: Some(pair(AuthorityKind::FrontProxy)),
            service_account: Some(ServiceAccount {
                key: Some(account.key),
                public: account.public_pem,
            }),
            machine_identity: None,
            bootstrap_token: Some(Secret::new("abcdef.0123456789abcdef".to_owned())),
            encryption_key: None,
        }
    }

    /// Every certificate by kubeadm's name for it, kubeconfigs' too.
    fn certificates(&self) -> BTreeMap<String, String> {
        let of_leaf = |leaf: &Leaf| (leaf.name.to_owned(), self.issue(leaf).0);
        let mut found: BTreeMap<_, _> = self.leaves().iter().map(of_leaf).collect();
        for file in render::authorities(&self.config, &self.secrets()) {
            let name = file.path.strip_prefix("/etc/kubernetes/pki/").unwrap();
            if let Some(name) = name.strip_suffix(".crt") {
                found.insert(name.to_owned(), file.content.expose().to_owned());
            }
        }
        found
    }
}

#[test]
fn every_certificate_says_what_kubeadms_says() {
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for cluster in clusters() {
        let mut expected: BTreeMap<String, Fields> = BTreeMap::new();
        for (name, facts) in cluster.kubeadm["certificates"].as_object().unwrap() {
            expected.insert(name.clone(), theirs(facts));
        }
        for (name, facts) in cluster.kubeadm["kubeconfigs"].as_object().unwrap() {
            expected.insert(name.clone(), theirs(&facts["certificate"]));
        }
        let found = cluster.certificates();
        assert!(
            found.keys().eq(expected.keys()),
            "{:?}\n{:?}",
            found.keys(),
            expected.keys()
        );
        for (name, pem) in &found {
            for (field, value) in ours(pem) {
                if expected[name][field] == value {
                    continue;
                }
                let listed = DIFFERENCES
                    .iter()
                    .position(|(file, f, _)| (*file == "*" || file == name) && *f == field);
                match listed {
                    Some(row) => drop(used.insert(row)),
                    None => wrong.push(format!(
                        "{name} {field}: {value:?}, not {:?}",
                        expected[name][field]
                    )),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let stale = (0..DIFFERENCES.len()).find(|row| !used.contains(row));
    assert_eq!(
        stale, None,
        "a difference that does not occur any more is listed"
    );
}

/// Listed above are which fields may differ; here, that they differ by no more than said.
#[test]
fn addresses_are_kubeadms_and_the_nodes_own() {
    for cluster in clusters() {
        let own = BTreeSet::from(["203.0.113.5".to_owned()]);
        for name in ["apiserver", "etcd/server", "etcd/peer"] {
            let leaf = cluster
                .leaves()
                .into_iter()
                .find(|leaf| leaf.name == name)
                .unwrap();
            let theirs = &theirs(&cluster.kubeadm["certificates"][name])["ips"];
            let ours: BTreeSet<_> = leaf.request.ips.iter().map(ToString::to_string).collect();
            assert_eq!(ours, theirs | &own, "{name}");
        }
    }
}

#[test]
fn every_kubeconfig_has_kubeadms_fields() {
    for cluster in clusters() {
        let ca = cluster.authorities[&AuthorityKind::Kubernetes].certificate_pem();
        let mut expected = cluster.kubeadm["kubeconfigs"].as_object().unwrap().clone();
        for leaf in cluster.leaves() {
            let Place::Kubeconfig {
                path,
                server,
                user,
                cluster: name,
            } = &leaf.place
            else {
                continue;
            };
            let theirs = expected
                .remove(leaf.name)
                .unwrap_or_else(|| panic!("{path} is ours alone"));
            assert_eq!(path, &format!("/etc/kubernetes/{}", leaf.name));
            assert_eq!(leaf.server(), theirs["server"].as_str());
            let (certificate, key) = cluster.issue(&leaf);
            let text = render::kubeconfig(name, server, ca, user, &certificate, &key);
            let shape: Vec<String> = text.expose().lines().map(without_data).collect();
            let yaml = |text: &str| -> Value { serde_saphyr::from_str(text).unwrap() };
            assert_eq!(
                yaml(&shape.join("\n")),
                yaml(theirs["shape"].as_str().unwrap())
            );
        }
        assert!(
            expected.is_empty(),
            "kubeadm also writes {:?}",
            expected.keys()
        );
    }
}

fn without_data(line: &str) -> String {
    match line.split_once("-data: ") {
        Some((name, _)) => format!("{name}-data: omitted"),
        None => line.to_owned(),
    }
}

#[test]
fn every_file_has_kubeadms_place_and_mode() {
    for cluster in clusters() {
        let mut found = BTreeMap::new();
        for file in render::authorities(&cluster.config, &cluster.secrets()) {
            found.insert(file.path, format!("{:04o}", file.mode));
        }
        for leaf in cluster.leaves() {
            if let Place::Pair { certificate, key } = leaf.place {
                found.insert(certificate, "0644".to_owned());
                found.insert(key, "0600".to_owned());
            }
        }
        let expected: BTreeMap<_, _> = cluster.kubeadm["files"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, mode)| {
                (
                    format!("/etc/kubernetes/pki/{name}"),
                    mode.as_str().unwrap().to_owned(),
                )
            })
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_is_issued_verifies_and_needs_no_renewal() {
    let [cluster, _] = clusters();
    for leaf in cluster.leaves() {
        let (certificate, key) = cluster.issue(&leaf);
        assert!(issued_by(
            &certificate,
            cluster.authorities[&leaf.authority].certificate_pem()
        ));
        assert!(key_matches(&certificate, &key));
        assert_eq!(
            leaf.wanted(&inspect(&certificate).unwrap(), 1_893_456_000),
            Ok(()),
            "{}",
            leaf.name
        );
    }
}
