//! What is generated is what is read.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::time::{Duration, Instant, SystemTime};

use machine_config::generate::{
    ClusterDescription, GenerateError, NodeDescription, documents, secrets, secrets_with,
};
use machine_config::{CaPair, EtcdRunAs, NetworkAddon, Role, read, read_secrets};

fn demo(nodes: Vec<NodeDescription>) -> ClusterDescription {
    ClusterDescription {
        name: "demo".into(),
        endpoint: "10.0.2.15:6443".into(),
        kubernetes_version: "v1.20.2".into(),
        nodes,
        ..ClusterDescription::default()
    }
}

fn node(hostname: &str, role: Role) -> NodeDescription {
    NodeDescription {
        hostname: hostname.into(),
        role,
    }
}

#[test]
fn every_stream_is_accepted_and_workers_get_no_authority() {
    let text = secrets(SystemTime::now()).unwrap();
    let cluster = read_secrets(text.expose().as_bytes()).unwrap();
    let description = ClusterDescription {
        cert_sans: vec!["127.0.0.1".into(), "api.example".into()],
        pod_subnet: Some("10.1.0.0/16".into()),
        network_addon: Some("none".into()),
        allow_scheduling_on_control_planes: true,
        node_subnets: vec!["10.0.2.0/24".into()],
        ..demo(vec![
            node("cp1", Role::ControlPlane),
            node("w1", Role::Worker),
        ])
    };
    let made = documents(&description, &cluster, SystemTime::now()).unwrap();
    let [cp, worker] = made.as_slice() else {
        panic!("{} streams", made.len())
    };
    let cp_bundle = read(cp.stream().expose().as_bytes()).unwrap();
    assert_eq!(cp_bundle.secrets.as_ref(), Some(&cluster));
    assert_eq!(cp_bundle.config.network_addon(), &NetworkAddon::None);
    assert!(cp_bundle.config.allow_scheduling_on_control_planes());
    let keys = worker.stream().expose().matches("BEGIN PRIVATE").count();
    assert_eq!(
        keys, 1,
        "a worker holds its own identity's key and no other"
    );
    let worker_bundle = read(worker.stream().expose().as_bytes()).unwrap();
    assert_eq!(
        worker_bundle.config.cluster_id(),
        cp_bundle.config.cluster_id()
    );
    let held = worker_bundle.secrets.unwrap();
    assert_eq!(held.bootstrap_token, cluster.bootstrap_token);
    let certificate = |ca: Option<&CaPair>| ca.map(|ca| ca.certificate.clone());
    assert_eq!(
        certificate(held.kubernetes_ca.as_ref()),
        certificate(cluster.kubernetes_ca.as_ref())
    );
    assert!(held.etcd_ca.is_none() && held.service_account.is_none());
    let identity = held.machine_identity.unwrap();
    let facts = machine_pki::inspect(&identity.certificate).unwrap();
    assert_eq!(facts.common_name, "w1");
    for name in ["w1", "api.example"] {
        assert!(facts.dns.contains(name), "{facts:?}");
    }
    assert!(!facts.ips.is_empty(), "{facts:?}");
    let again = documents(&description, &cluster, SystemTime::now()).unwrap();
    assert_eq!(again.first(), made.first(), "the same words, the same text");
    assert_eq!(again[1].config, worker.config);
}

#[test]
fn a_hundred_machines_take_no_time() {
    let started = Instant::now();
    let text = secrets(SystemTime::now()).unwrap();
    let cluster = read_secrets(text.expose().as_bytes()).unwrap();
    let role = |n| {
        if n < 3 {
            Role::ControlPlane
        } else {
            Role::Worker
        }
    };
    let nodes = (0..100)
        .map(|n| node(&format!("node-{n}"), role(n)))
        .collect();
    assert_eq!(
        documents(&demo(nodes), &cluster, SystemTime::now())
            .unwrap()
            .len(),
        100
    );
    // Unoptimised, on a busy machine; an optimised build takes some hundredths.
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn wrong_words_are_refused_as_the_machine_would() {
    let text = secrets(SystemTime::now()).unwrap();
    let cluster = read_secrets(text.expose().as_bytes()).unwrap();
    let description = ClusterDescription {
        endpoint: "https://x".into(),
        ..demo(vec![node("CP", Role::Worker)])
    };
    let Err(GenerateError::Refused { problems, .. }) =
        documents(&description, &cluster, SystemTime::now())
    else {
        panic!("accepted")
    };
    let text = problems.to_string();
    assert!(
        text.contains("machine.hostname") && text.contains("controlPlaneEndpoint"),
        "{text}"
    );
    let twice = demo(vec![node("a", Role::Worker), node("a", Role::Worker)]);
    assert!(matches!(
        documents(&twice, &cluster, SystemTime::now()),
        Err(GenerateError::SameName { .. })
    ));
    let mut poor = cluster;
    poor.etcd_ca = None;
    assert!(matches!(
        documents(&twice, &poor, SystemTime::now()),
        Err(GenerateError::Incomplete { .. })
    ));
}

#[test]
fn an_identity_is_one_machines_own() {
    let text = secrets(SystemTime::now()).unwrap();
    let cluster = read_secrets(text.expose().as_bytes()).unwrap();
    let other = secrets(SystemTime::now()).unwrap();
    let other = read_secrets(other.expose().as_bytes()).unwrap();
    let workers = demo(vec![node("w1", Role::Worker), node("w2", Role::Worker)]);
    let of = |secrets| documents(&workers, secrets, SystemTime::now()).unwrap();
    let (mine, foreign) = (of(&cluster), of(&other));
    let part = |text: &str, from: &str, to: &str| {
        let start = text.find(from).unwrap();
        text[start..start + text[start..].find(to).unwrap()].to_owned()
    };
    let identity = |text: &str| part(text, "machineIdentity:", "bootstrapToken:");
    let key = |text: &str| part(&identity(text), "  key: |", "-----END PRIVATE");
    let whole = mine[0].stream().expose().to_owned();
    let at = |secrets: &machine_pki::Secret| identity(secrets.expose());
    let cases = [
        (at(&mine[1].secrets), "is for \"w2\", not for \"w1\""),
        (at(&foreign[0].secrets), "is not signed by machineCA"),
        (
            identity(&whole).replace(&key(&whole), &key(mine[1].secrets.expose())),
            "is not the private key of the certificate beside it",
        ),
        (
            format!(
                "machineIdentity:\n  certificate: |\n{}  key: x\n",
                part(&whole, "    -----BEGIN CERT", "kubernetesCA:")
            ),
            "is not of the group machined:node",
        ),
    ];
    for (instead, message) in cases {
        let text = whole.replace(&identity(&whole), &instead);
        let problems = read(text.as_bytes()).unwrap_err().to_string();
        assert!(problems.contains(message), "{message}: {problems}");
        assert!(problems.contains("machineIdentity."), "{problems}");
    }
    let cp = demo(vec![node("cp1", Role::ControlPlane)]);
    let cp = documents(&cp, &cluster, SystemTime::now()).unwrap();
    let stream = cp[0].stream();
    let text = stream
        .expose()
        .replace("bootstrapToken:", &(identity(&whole) + "bootstrapToken:"));
    let problems = read(text.as_bytes()).unwrap_err().to_string();
    assert!(
        problems.contains("machineIdentity: is for workers"),
        "{problems}"
    );
}

#[test]
fn an_external_etcd_gets_a_client_and_no_authority() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/documents/accepted/external-etcd.yaml"
    );
    let bundle = read(&std::fs::read(path).unwrap()).unwrap();
    let urls = bundle.config.external_etcd().unwrap().iter();
    let urls: Vec<_> = urls.map(|endpoint| endpoint.url()).collect();
    assert_eq!(
        urls,
        [
            "https://10.0.2.21:2379",
            "https://etcd.example:2379",
            "https://[fd00::21]:12379"
        ]
    );
    let client = bundle.secrets.as_ref().unwrap().external_etcd.clone();
    let redacted = bundle.redacted();
    let key = client.as_ref().unwrap().key.expose().to_owned();
    let line = key.lines().nth(1).unwrap();
    assert!(!redacted.contains(line) && redacted.contains("externalEtcd"));

    let text = secrets_with(client.clone(), SystemTime::now()).unwrap();
    let cluster = read_secrets(text.expose().as_bytes()).unwrap();
    assert!(cluster.etcd_ca.is_some(), "a cluster's own may hold both");
    let of_its_own = demo(vec![
        node("cp1", Role::ControlPlane),
        node("w1", Role::Worker),
    ]);
    let of_another = ClusterDescription {
        etcd_endpoints: urls,
        ..of_its_own.clone()
    };
    for (description, external) in [(&of_its_own, false), (&of_another, true)] {
        let made = documents(description, &cluster, SystemTime::now()).unwrap();
        let [cp, worker] = made.as_slice() else {
            panic!("{} streams", made.len())
        };
        let cp = read(cp.stream().expose().as_bytes()).unwrap();
        assert_eq!(cp.config.external_etcd().is_some(), external);
        let held = cp.secrets.unwrap();
        assert_eq!(held.etcd_ca.is_none(), external);
        assert_eq!(held.external_etcd.is_some(), external);
        let worker = read(worker.stream().expose().as_bytes()).unwrap();
        let held = worker.secrets.unwrap();
        assert!(held.etcd_ca.is_none() && held.external_etcd.is_none());
    }
    let without = secrets(SystemTime::now()).unwrap();
    let without = read_secrets(without.expose().as_bytes()).unwrap();
    assert!(matches!(
        documents(&of_another, &without, SystemTime::now()),
        Err(GenerateError::Incomplete {
            missing: "externalEtcd"
        })
    ));
}

#[test]
fn machines_of_role_etcd_hold_two_authorities_and_nothing_of_kubernetes() {
    let text = secrets(SystemTime::now()).unwrap();
    let cluster = read_secrets(text.expose().as_bytes()).unwrap();
    let description = ClusterDescription {
        etcd_members: vec!["10.0.2.21".into(), "fd00::22".into()],
        ..demo(vec![
            node("etcd1", Role::Etcd),
            node("cp1", Role::ControlPlane),
            node("w1", Role::Worker),
        ])
    };
    let made = documents(&description, &cluster, SystemTime::now()).unwrap();
    let read_again = |index: usize| {
        let stream = made[index].stream();
        read(stream.expose().as_bytes()).unwrap()
    };
    let [etcd, cp, worker] = [read_again(0), read_again(1), read_again(2)];
    for bundle in [&etcd, &cp, &worker] {
        let members = bundle.config.etcd_members().unwrap();
        assert_eq!(members.len(), 2);
    }
    assert!(etcd.config.has_etcd_member() && !etcd.config.etcd_is_elsewhere());
    assert!(!cp.config.has_etcd_member() && cp.config.etcd_is_elsewhere());
    assert!(!worker.config.has_etcd_member() && !worker.config.etcd_is_elsewhere());
    assert_eq!(etcd.config.etcd_run_as(), EtcdRunAs::Unit);
    let held = etcd.secrets.unwrap();
    assert_eq!(
        (held.machine_ca, held.etcd_ca),
        (cluster.machine_ca.clone(), cluster.etcd_ca.clone())
    );
    assert!(held.kubernetes_ca.is_none() && held.front_proxy_ca.is_none());
    assert!(held.service_account.is_none() && held.machine_identity.is_none());
    assert!(held.bootstrap_token.is_none() && held.encryption_key.is_none());
    assert_eq!(cp.secrets.unwrap().etcd_ca, cluster.etcd_ca);
}

#[test]
fn control_planes_are_named_to_each_other_where_they_have_members_of_etcd() {
    let text = secrets(SystemTime::now()).unwrap();
    let cluster = read_secrets(text.expose().as_bytes()).unwrap();
    let named = |nodes: &[&str], control_planes: &[&str], etcd_members: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|ip| (*ip).to_owned()).collect();
        let description = ClusterDescription {
            control_planes: texts(control_planes),
            etcd_members: texts(etcd_members),
            ..demo(nodes.iter().map(|n| node(n, Role::ControlPlane)).collect())
        };
        let made = documents(&description, &cluster, SystemTime::now()).unwrap();
        let stream = made[0].stream();
        let bundle = read(stream.expose().as_bytes()).unwrap();
        bundle.config.control_planes().len()
    };
    let two = ["cp1", "cp2"];
    assert_eq!(named(&two, &["10.0.2.11", "fd00::12"], &[]), 2);
    assert_eq!(
        named(&two, &["10.0.2.11"], &[]),
        1,
        "the other looks for it"
    );
    let alone = named(&two[..1], &["10.0.2.11"], &[]);
    assert_eq!(alone, 0, "it would look for itself");
    let elsewhere = named(&two, &["10.0.2.11", "10.0.2.12"], &["10.0.2.21"]);
    assert_eq!(elsewhere, 0);
}

#[test]
fn as_what_etcd_runs_is_written_where_it_is_said() {
    let text = secrets(SystemTime::now()).unwrap();
    let cluster = read_secrets(text.expose().as_bytes()).unwrap();
    for (said, expected) in [
        (None, EtcdRunAs::Pod),
        (Some("pod"), EtcdRunAs::Pod),
        (Some("unit"), EtcdRunAs::Unit),
    ] {
        let description = ClusterDescription {
            etcd_run_as: said.map(str::to_owned),
            ..demo(vec![node("cp1", Role::ControlPlane)])
        };
        let made = documents(&description, &cluster, SystemTime::now()).unwrap();
        assert_eq!(made[0].config.contains("runAs"), said.is_some());
        let bundle = read(made[0].config.as_bytes()).unwrap();
        assert_eq!(bundle.config.etcd_run_as(), expected);
    }
    let wrong = ClusterDescription {
        etcd_run_as: Some("systemd".to_owned()),
        ..demo(vec![node("cp1", Role::ControlPlane)])
    };
    let refused = documents(&wrong, &cluster, SystemTime::now()).unwrap_err();
    assert!(
        refused.to_string().contains("cluster.etcd.runAs"),
        "{refused}"
    );
}
