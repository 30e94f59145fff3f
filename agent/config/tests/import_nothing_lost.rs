//! Nothing of kubeadm's documents gets lost silently, and no input panics.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod import_support;

use std::sync::LazyLock;

use import_support::{documents, source, words};
use machine_config::import::{Imported, kubeadm};
use machine_config::read;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Parts of documents, by kind. `$` becomes a word, `%` a number, that nothing else has.
#[rustfmt::skip]
const PARTS: &[(&str, &str)] = &[
    ("Init", r#"{"bootstrapTokens":[{"token":"$","description":"$","ttl":"$","groups":["$"]}]}"#),
    ("Init", r#"{"certificateKey":"$"}"#),
    ("Init", r#"{"dryRun":true}"#),
    ("Init", r#"{"localAPIEndpoint":{"advertiseAddress":"192.168.9.2"}}"#),
    ("Init", r#"{"localAPIEndpoint":{"bindPort":"%"}}"#),
    ("Init", r#"{"nodeRegistration":{"name":"$"}}"#),
    ("Init", r#"{"nodeRegistration":{"criSocket":"/$"}}"#),
    ("Init", r#"{"nodeRegistration":{"imagePullPolicy":"$","imagePullSerial":false}}"#),
    ("Init", r#"{"nodeRegistration":{"ignorePreflightErrors":["$","$"]}}"#),
    ("Init", r#"{"nodeRegistration":{"kubeletExtraArgs":{"v":"$","node-ip":"192.168.9.1","config-dir":"/$"}}}"#),
    ("Init", r#"{"nodeRegistration":{"kubeletExtraArgs":{"node-labels":"$=x","hostname-override":"$","cluster-domain":"$"}}}"#),
    ("Init", r#"{"nodeRegistration":{"kubeletExtraArgs":{"register-with-taints":"$=a:NoExecute","--odd":"$","root-dir":"/$"}}}"#),
    ("Init", r#"{"nodeRegistration":{"taints":[{"key":"$","value":"$","effect":"NoExecute","timeAdded":"$"}]}}"#),
    ("Init", r#"{"patches":{"directory":"/$"},"skipPhases":["$"]}"#),
    ("Init", r#"{"timeouts":{"discovery":"%s","etcdAPICall":"%s","tlsBootstrap":"%s"}}"#),
    ("Cluster", r#"{"clusterName":"$"}"#),
    ("Cluster", r#"{"certificatesDir":"/$","encryptionAlgorithm":"$"}"#),
    ("Cluster", r#"{"certificateValidityPeriod":"%h","caCertificateValidityPeriod":"%h"}"#),
    ("Cluster", r#"{"imageRepository":"$.example/k8s"}"#),
    ("Cluster", r#"{"imageRepository":"k8s.gcr.io"}"#),
    ("Cluster", r#"{"useHyperKubeImage":true}"#),
    ("Cluster", r#"{"featureGates":{"A":true,"IPv6DualStack":true}}"#),
    ("Cluster", r#"{"dns":{"type":"$","imageRepository":"$","imageTag":"$","disabled":true}}"#),
    ("Cluster", r#"{"proxy":{"disabled":true}}"#),
    ("Cluster", r#"{"networking":{"dnsDomain":"$.example"}}"#),
    ("Cluster", r#"{"networking":{"podSubnet":"10.77.0.0/16","serviceSubnet":"10.78.0.0/16"}}"#),
    ("Cluster", r#"{"apiServer":{"certSANs":["$","192.168.9.3"],"timeoutForControlPlane":"%s"}}"#),
    ("Cluster", r#"{"apiServer":{"extraArgs":[{"name":"v","value":"$"},{"name":"v","value":"$","more":"$"},{"name":"etcd-servers","value":"$"}]}}"#),
    ("Cluster", r#"{"apiServer":{"extraEnvs":[{"name":"$","value":"$"}]}}"#),
    ("Cluster", r#"{"apiServer":{"extraVolumes":[{"name":"$","hostPath":"/$","mountPath":"/$","readOnly":true,"pathType":"File","odd":"$"}]}}"#),
    ("Cluster", r#"{"controllerManager":{"extraArgs":{"v":"$","cluster-name":"$","allocate-node-cidrs":"false"}}}"#),
    ("Cluster", r#"{"scheduler":{"extraArgs":{"v":"$","port":"%","kubeconfig":"/$"},"extraEnvs":[{"name":"$"}]}}"#),
    ("Cluster", r#"{"scheduler":{"extraVolumes":[{"name":"$","hostPath":"/$","mountPath":"/$"}]}}"#),
    ("Cluster", r#"{"etcd":{"local":{"dataDir":"/$","imageTag":"$","imageRepository":"$","serverCertSANs":["$"],"peerCertSANs":["$"]}}}"#),
    ("Cluster", r#"{"etcd":{"local":{"extraArgs":{"v":"$","name":"$","data-dir":"/$"},"extraEnvs":[{"name":"$"}]}}}"#),
    ("Cluster", r#"{"etcd":{"external":{"endpoints":["https://$.example:2379"],"caFile":"/$","certFile":"/$","keyFile":"/$"}}}"#),
    ("Kubelet", r#"{"maxPods":"%","registryPullQPS":"%","logging":{"verbosity":"%","format":"$"}}"#),
    ("Kubelet", r#"{"evictionHard":{"memory.available":"$","nodefs.available":"$"}}"#),
    ("Kubelet", r#"{"featureGates":{"Odd":true},"failSwapOn":false}"#),
    ("Kubelet", r#"{"authentication":{"x509":{"clientCAFile":"/$"},"anonymous":{"enabled":true}}}"#),
    ("Kubelet", r#"{"cgroupDriver":"$","tlsCertFile":"/$","staticPodPath":"/$","clusterDomain":"$"}"#),
    ("Kubelet", r#"{"clusterDNS":["192.168.9.53"],"tlsCipherSuites":["$","$"],"address":"$"}"#),
    ("Kubelet", r#"{"shutdownGracePeriod":"0s","maxopenfiles":"$","memoryReservationPolicy":"$"}"#),
    ("Proxy", r#"{"mode":"$","iptables":{"masqueradeAll":true,"syncPeriod":"%s"}}"#),
    ("Proxy", r#"{"conntrack":{"min":"%"},"nodePortAddresses":["$"],"clusterCIDR":"$"}"#),
];

/// Words of one choice, which say nothing by themselves.
const PLAIN: [&str; 3] = ["NoExecute", "File", "v1.33.0"];

/// Gives each `$` and `%` a value of its own.
fn distinct(value: &Value, next: &mut u32) -> Value {
    let mut number = || {
        *next += 1;
        *next
    };
    match value {
        Value::String(text) if text == "%" => Value::from(number()),
        Value::String(text) => {
            let text = text.replacen('$', &format!("m{}", number()), 1);
            Value::from(text.replacen('%', &number().to_string(), 1))
        }
        Value::Array(entries) => entries.iter().map(|e| distinct(e, next)).collect(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| (name.clone(), distinct(value, next));
            Value::Object(fields.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (name, value) in part {
                match into.get_mut(&name) {
                    Some(there) => merge(there, value),
                    None => drop(into.insert(name, value)),
                }
            }
        }
        (Value::Array(into), Value::Array(part)) => into.extend(part),
        (into, part) => *into = part,
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        Value::Array(entries) => entries.iter().map(count).sum(),
        _ => 0,
    }
}

/// The nth mapping of a document, to put an unknown field into.
fn mapping(value: &mut Value, nth: usize) -> Option<&mut Map<String, Value>> {
    let mut nth = nth;
    if nth == 0 && value.is_object() {
        return value.as_object_mut();
    }
    let children: Vec<&mut Value> = match value {
        Value::Object(fields) => {
            nth -= 1;
            fields.values_mut().collect()
        }
        Value::Array(entries) => entries.iter_mut().collect(),
        _ => return None,
    };
    for child in children {
        let inside = count(child);
        if nth < inside {
            return mapping(child, nth);
        }
        nth -= inside;
    }
    None
}

fn stream(chosen: &[bool], unknown: &[(u8, usize)]) -> Vec<(String, Value)> {
    let mut next = 100_000;
    let kubeadm = "kubeadm.k8s.io/v1beta4";
    let heads = [
        ("Init", "InitConfiguration", kubeadm),
        ("Cluster", "ClusterConfiguration", kubeadm),
        (
            "Kubelet",
            "KubeletConfiguration",
            "kubelet.config.k8s.io/v1beta1",
        ),
        (
            "Proxy",
            "KubeProxyConfiguration",
            "kubeproxy.config.k8s.io/v1alpha1",
        ),
    ];
    heads
        .into_iter()
        .map(|(short, kind, version)| {
            let mut document = Value::Object(Map::new());
            if short == "Cluster" {
                document["kubernetesVersion"] = "v1.33.0".into();
            }
            let parts = PARTS.iter().zip(chosen);
            for ((_, part), _) in parts.filter(|((of, _), chosen)| *of == short && **chosen) {
                let part: Value = serde_json::from_str(part).unwrap();
                merge(&mut document, distinct(&part, &mut next));
            }
            for (shape, nth) in unknown
                .iter()
                .filter(|_| short == "Init" || short == "Cluster")
            {
                let value = match shape % 3 {
                    0 => r#""$""#,
                    1 => r#"["$","$"]"#,
                    _ => r#"{"a":"$","b":{"c":"$"}}"#,
                };
                let value: Value = serde_json::from_str(value).unwrap();
                let value = distinct(&value, &mut next);
                let all = count(&document);
                // Where any name is a known one, only text is a value.
                next += 1;
                let name = format!("odd{next}");
                if let Some(fields) = mapping(&mut document, nth % all)
                    && !fields.contains_key("v")
                    && !fields.contains_key("A")
                    && !fields.contains_key("node-labels")
                    && !fields.contains_key("--odd")
                {
                    fields.insert(name, value);
                }
            }
            document["apiVersion"] = version.into();
            document["kind"] = kind.into();
            (kind.to_owned(), document)
        })
        .collect()
}

/// Every single value, its path, and what must be seen of it if it was carried over.
fn leaves(value: &Value, path: String, key: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
                let step = match name.chars().all(word) {
                    true => format!(".{name}"),
                    false => format!("[{name:?}]"),
                };
                leaves(value, path.clone() + &step, name, found);
            }
        }
        Value::Array(entries) => {
            for (index, value) in entries.iter().enumerate() {
                leaves(value, format!("{path}[{index}]"), key, found);
            }
        }
        Value::String(text) if PLAIN.contains(&text.as_str()) => {}
        Value::String(text) => {
            // What is not a word of its own is carried over whole.
            let own = text.find(|c: char| c.is_ascii_digit());
            let own = own.filter(|_| text.contains("10") && !text.contains("10."));
            let number = own.map(|at| {
                let digits = &text[at..];
                let end = digits.find(|c: char| !c.is_ascii_digit());
                digits[..end.unwrap_or(digits.len())].to_owned()
            });
            found.push((path, number.unwrap_or_else(|| text.clone())));
        }
        Value::Bool(_) => found.push((path, key.to_owned())),
        other => found.push((path, other.to_string())),
    }
}

fn lost(documents: &[(String, Value)], imported: &Imported) -> Vec<String> {
    let mut all = Vec::new();
    for (kind, document) in documents {
        let mut body = document.clone();
        let fields = body.as_object_mut().unwrap();
        fields.shift_remove("apiVersion");
        fields.shift_remove("kind");
        leaves(&body, kind.clone(), "", &mut all);
    }
    let told = |leaf: &str| {
        imported.left.iter().any(|finding| {
            let path = finding.problem.path.as_str();
            leaf.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    all.retain(|(path, seen)| !told(path) && !imported.config.contains(seen));
    all.into_iter().map(|(path, _)| path).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_value_is_carried_over_or_told_of(
        chosen in prop::collection::vec(any::<bool>(), PARTS.len()),
        unknown in prop::collection::vec((any::<u8>(), any::<usize>()), 0..6),
    ) {
        let documents = stream(&chosen, &unknown);
        let text: String = documents.iter().map(|(_, d)| format!("---\n{d}\n")).collect();
        let named = documents[0].1["nodeRegistration"]["name"].is_string();
        let words = match named {
            true => words("# words: endpoint=api.example"),
            false => words("# words: endpoint=api.example hostname=cp1"),
        };
        let imported = match kubeadm(&[source("in.yaml", &text)], &words) {
            Ok(imported) => imported,
            Err(refused) => {
                let problems: Vec<_> = refused.problems.iter().map(ToString::to_string).collect();
                return Err(TestCaseError::fail(format!("{problems:#?}\n{text}")));
            }
        };
        prop_assert!(read(imported.config.as_bytes()).is_ok());
        let lost = lost(&documents, &imported);
        prop_assert!(lost.is_empty(), "lost: {lost:#?}\n{text}\n{}", imported.config);
    }
}

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let all = documents("accepted")
        .into_iter()
        .chain(documents("refused"));
    all.map(|path| std::fs::read(path).unwrap()).collect()
});

/// One thing that goes wrong with a text.
fn damaged(bytes: &[u8], kind: u8, at: usize, with: u8) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let line = at % lines.len();
    match kind % 8 {
        0 => drop(lines.remove(line)),
        1 => lines.insert(line, lines[line].clone()),
        2 => lines[line].insert(0, b' '),
        3 => lines[line] = lines[line].trim_ascii_start().to_vec(),
        4 => lines[line].extend(b" null"),
        5 => lines.truncate(line),
        6 => {
            let mut whole = lines.join(&b'\n');
            let length = whole.len().max(1);
            if let Some(byte) = whole.get_mut(at % length) {
                *byte = with;
            }
            return whole;
        }
        _ => {
            let junk: [&[u8]; 6] = [b"[]", b"{}", b"~", b"&a", b"*a", b"\""];
            let end = lines[line]
                .iter()
                .position(|b| *b == b':')
                .map_or(0, |colon| colon + 1);
            lines[line].truncate(end);
            lines[line].push(b' ');
            lines[line].extend(junk[usize::from(with) % junk.len()]);
        }
    }
    lines.join(&b'\n')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn damaged_documents_are_imported_or_refused(
        which in any::<usize>(),
        damage in prop::collection::vec((any::<u8>(), any::<usize>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = CORPUS[which % CORPUS.len()].clone();
        for (kind, at, with) in damage {
            bytes = damaged(&bytes, kind, at, with);
        }
        match kubeadm(&[source("in.yaml", &bytes)], &words("# words: hostname=cp1 endpoint=a.example")) {
            Ok(imported) => prop_assert!(read(imported.config.as_bytes()).is_ok()),
            Err(refused) => prop_assert!(!refused.problems.is_empty()),
        }
    }

    #[test]
    fn any_text_is_imported_or_refused(text in "(apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n)?\\PC{0,200}") {
        let outcome = kubeadm(&[source("in.yaml", &text)], &words(""));
        prop_assert!(outcome.is_err(), "no machine is named");
    }
}
