//! `ClusterConfiguration`.

use super::Words;
use super::account::Account;
use super::args;
use super::draft::at;
use super::input::{Item, Origin, Section};
use crate::rules::is_start_timeout;

/// The name of a cluster that kubeadm was told none for.
const UNNAMED: &str = "kubernetes";
/// Where kubeadm takes images from by itself.
const DEFAULT_REGISTRIES: [&str; 2] = ["k8s.gcr.io", "registry.k8s.io"];

/// Arguments that say what every machine's programs are told anyway.
const API_SERVER: &[(&str, &str)] = &[
    ("secure-port", "6443"),
    ("bind-address", "0.0.0.0"),
    ("client-ca-file", "/etc/kubernetes/pki/ca.crt"),
    ("tls-cert-file", "/etc/kubernetes/pki/apiserver.crt"),
    ("tls-private-key-file", "/etc/kubernetes/pki/apiserver.key"),
];
const CONTROLLER_MANAGER: &[(&str, &str)] = &[("secure-port", "10257")];
const SCHEDULER: &[(&str, &str)] = &[("secure-port", "10259")];
const ETCD: &[(&str, &str)] = &[
    ("data-dir", "/var/lib/etcd"),
    ("client-cert-auth", "true"),
    ("peer-client-cert-auth", "true"),
];

pub(super) fn configuration(item: Option<Item>, words: &Words, account: &mut Account) {
    if let Some(endpoint) = &words.endpoint {
        account.endpoint = Some((endpoint.clone(), Origin::Flag("--endpoint")));
    }
    let mut named = false;
    account.section(item, |account, section| {
        named = basics(section, words, account);
        networking(section, account);
        components(section, account);
        let etcd = section.take("etcd");
        account.section(etcd, |account, section| self::etcd(section, account));
        addons(section, account);
        certificates(section, account);
        gates(section.take("featureGates"), account);
        account.leave_unless(
            section.take("useHyperKubeImage"),
            &["false"],
            "is an image that no longer exists",
            "remove it",
        );
    });
    // Without the section a word has nothing to stand in for.
    let fallbacks = [
        ("name", &words.name, "--name"),
        (
            "kubernetesVersion",
            &words.kubernetes_version,
            "--kubernetes-version",
        ),
        ("image", &words.image, "--image"),
    ];
    for (field, word, flag) in fallbacks {
        let path = ["cluster", field];
        if let Some(word) = word
            && account.draft.text(&path).is_none()
        {
            account
                .draft
                .set(at(&path), word.as_str(), Origin::Flag(flag));
        }
    }
    if !named && words.name.is_none() {
        let origin = Origin::Nowhere("ClusterConfiguration.clusterName");
        account.draft.set(at(&["cluster", "name"]), UNNAMED, origin);
    }
}

/// Gives whether the cluster is named.
fn basics(section: &mut Section, words: &Words, account: &mut Account) -> bool {
    let name = section.take("clusterName");
    let named = name.as_ref().and_then(Item::text);
    let named = named.is_some_and(|name| !name.is_empty());
    let path = at(&["cluster", "name"]);
    account.carry_unless(name, path, words.name.as_deref(), "--name");
    version(section.take("kubernetesVersion"), words, account);
    if let Some(item) = section.take("controlPlaneEndpoint") {
        let text = account.text(&item).filter(|text| !text.is_empty());
        endpoint(text, item.origin, account);
    }
    image(section.take("imageRepository"), words, account);
    named
}

/// An endpoint that counts where nothing before it said one.
pub(super) fn endpoint(text: Option<String>, origin: Origin, account: &mut Account) {
    let Some(text) = text else { return };
    let whole = |text: &str| {
        let endpoint = text.parse::<crate::types::Endpoint>();
        endpoint.map_or_else(|_| text.to_owned(), |endpoint| endpoint.to_string())
    };
    match &account.endpoint {
        None => account.endpoint = Some((text, origin)),
        Some((said, _)) if whole(said) == whole(&text) => {}
        Some((_, Origin::Flag(flag))) => {
            let flag = *flag;
            account.give_way(&origin, flag);
        }
        Some(_) => account.leave(
            &origin,
            "is not the cluster's controlPlaneEndpoint, where machines look for the API",
            "make them the same, or say --endpoint",
        ),
    }
}

/// kubeadm also takes a version without its v.
fn version(item: Option<Item>, words: &Words, account: &mut Account) {
    let path = at(&["cluster", "kubernetesVersion"]);
    let bare = |item: &Item| {
        let text = item.text().filter(|text| !text.is_empty())?;
        let digit = text.starts_with(|c: char| c.is_ascii_digit());
        Some(if digit {
            format!("v{text}")
        } else {
            text.to_owned()
        })
    };
    let written = item.as_ref().and_then(bare);
    match (&words.kubernetes_version, written, item) {
        (Some(word), written, item) => {
            let flag = "--kubernetes-version";
            if let Some(item) = item
                && written.is_some_and(|written| written != *word)
            {
                account.give_way(&item.origin, flag);
            }
            account.draft.set(path, word.as_str(), Origin::Flag(flag));
        }
        (None, Some(written), Some(item)) => account.draft.set(path, written, item.origin),
        (None, None, Some(item)) => drop(account.text(&item)),
        (None, _, None) => {}
    }
}

fn image(item: Option<Item>, words: &Words, account: &mut Account) {
    let default = item
        .as_ref()
        .and_then(Item::text)
        .is_some_and(|text| DEFAULT_REGISTRIES.contains(&text.trim_end_matches('/')));
    match item {
        Some(item) if default && words.image.is_none() => account.leave(
            &item.origin,
            "is where kubeadm takes images from by itself; machines run the programs in their own image",
            "nothing is needed; --image names a registry to take them from",
        ),
        item => {
            let path = at(&["cluster", "image"]);
            account.carry_unless(item, path, words.image.as_deref(), "--image");
        }
    }
}

fn networking(section: &mut Section, account: &mut Account) {
    let networking = section.take("networking");
    account.section(networking, |account, section| {
        for name in ["podSubnet", "serviceSubnet", "dnsDomain"] {
            account.carry(section.take(name), at(&["cluster", "networking", name]));
        }
    });
}

fn components(section: &mut Section, account: &mut Account) {
    let api_server = section.take("apiServer");
    account.section(api_server, |account, section| {
        let to = at(&["cluster", "apiServer"]);
        args::component(section, API_SERVER, &to, account);
        account.carry_list(section.take("certSANs"), &to.key("certSANs"));
        start_timeout(section.take("timeoutForControlPlane"), account);
    });
    for (name, same) in [
        ("controllerManager", CONTROLLER_MANAGER),
        ("scheduler", SCHEDULER),
    ] {
        let component = section.take(name);
        account.section(component, |account, section| {
            args::component(section, same, &at(&["cluster", name]), account);
        });
    }
}

/// How long the API server may take to start, in kubeadm's older and newer words.
pub(super) fn start_timeout(item: Option<Item>, account: &mut Account) {
    let Some(item) = item.filter(|item| !item.is_empty()) else {
        return;
    };
    let path = at(&["cluster", "apiServer", "timeoutForControlPlane"]);
    match account.text(&item) {
        Some(text) if text.is_empty() || is_start_timeout(&text) => {
            account.carry(Some(item), path);
        }
        Some(_) => account.leave(
            &item.origin,
            "is not a duration from 1m to 1h, which the API server may take to start here",
            "say one in cluster.apiServer.timeoutForControlPlane",
        ),
        None => {}
    }
}

const OWN_ETCD_IMAGE: &str = "etcd is the machine image's own, or of the registry in cluster.image";

fn etcd(section: &mut Section, account: &mut Account) {
    let to = at(&["cluster", "etcd"]);
    let external = section.take("external").filter(|item| !item.is_empty());
    if external.is_some() {
        account.leave_unless(
            section.take("local"),
            &[],
            "is for members of the machines' own, and etcd.external says that there are none",
            "remove one of the two",
        );
    }
    account.section(external, |account, section| {
        let endpoints = to.key("external").key("endpoints");
        account.carry_list(section.take("endpoints"), &endpoints);
        account.leave_unless(
            section.take("httpEndpoints"),
            &[],
            "etcd is asked over TLS alone",
            "use the endpoints that want a certificate",
        );
        for name in ["caFile", "certFile", "keyFile"] {
            account.leave_unless(
                section.take(name),
                &[],
                "is a file of another machine: what is in it belongs to externalEtcd of the secrets",
                "machinectl gen secrets --etcd-ca FILE --etcd-certificate FILE --etcd-key FILE",
            );
        }
    });
    let local = section.take("local");
    account.section(local, |account, section| {
        args::component(section, ETCD, &to, account);
        for name in ["serverCertSANs", "peerCertSANs"] {
            account.carry_list(section.take(name), &to.key(name));
        }
        account.leave_unless(
            section.take("dataDir"),
            &["/var/lib/etcd"],
            "etcd's data stays in /var/lib/etcd, on its own partition",
            "remove it",
        );
        for name in ["imageRepository", "imageTag"] {
            account.leave_unless(
                section.take(name),
                &[],
                OWN_ETCD_IMAGE,
                "use --image for a registry",
            );
        }
    });
}

fn addons(section: &mut Section, account: &mut Account) {
    let dns = section.take("dns");
    account.section(dns, |account, section| {
        account.leave_unless(
            section.take("type"),
            &["CoreDNS"],
            "CoreDNS is the only DNS",
            "remove it",
        );
        for name in ["imageRepository", "imageTag"] {
            account.leave_unless(
                section.take(name),
                &[],
                "CoreDNS is of the registry in cluster.image, in the version that kubeadm pins",
                "change its Deployment with kubectl, or install one with cluster.extraManifests",
            );
        }
        account.leave_unless(
            section.take("disabled"),
            &["false"],
            "whether there is a DNS follows from cluster.image: only a registry has CoreDNS",
            "delete what is not wanted with kubectl",
        );
    });
    let proxy = section.take("proxy");
    account.section(proxy, |account, section| {
        account.leave_unless(
            section.take("disabled"),
            &["false"],
            "kube-proxy is part of every cluster",
            "delete its DaemonSet with kubectl",
        );
    });
}

fn certificates(section: &mut Section, account: &mut Account) {
    account.leave_unless(
        section.take("certificatesDir"),
        &["/etc/kubernetes/pki"],
        "certificates are the agent's, in /etc/kubernetes/pki",
        "remove it",
    );
    account.leave_unless(
        section.take("encryptionAlgorithm"),
        &["ECDSA-P256"],
        "keys are ECDSA on P-256",
        "remove it",
    );
    for (name, same) in [
        ("certificateValidityPeriod", ["8760h0m0s", "8760h"]),
        ("caCertificateValidityPeriod", ["87600h0m0s", "87600h"]),
    ] {
        account.leave_unless(
            section.take(name),
            &same,
            "certificates live a year, and are renewed by themselves; authorities live ten",
            "remove it",
        );
    }
}

/// Gates of kubeadm itself.
fn gates(item: Option<Item>, account: &mut Account) {
    let Some(item) = item else { return };
    let pods = account
        .draft
        .text(&["cluster", "networking", "podSubnet"])
        .unwrap_or_default();
    let dual = if pods.contains(',') { "true" } else { "false" };
    for (name, gate) in account.fields(item) {
        let same = match name.as_str() {
            "IPv6DualStack" => dual,
            "CoreDNS" => "true",
            _ => "",
        };
        let instead = match name.as_str() {
            "IPv6DualStack" => "two ranges in podSubnet and serviceSubnet make dual stack",
            _ => "use extraArgs with feature-gates if it was meant for a component",
        };
        account.leave_unless(Some(gate), &[same], "is a gate of kubeadm's own", instead);
    }
}
