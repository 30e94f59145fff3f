//! What this node's etcd member is started from: its static pod, or its unit's arguments.

use machine_config::{
    ComponentSource, Endpoint, EtcdRunAs, KubernetesVersion, MachineConfig, PathType,
};
use serde::{Deserialize, Serialize};

use super::args::Args;
use super::pod::{Component, Mounts, Probes};
use super::static_pods::{loopback_ip, pki, url};
use super::{gates, images, join};
use crate::facts::HostFacts;
use crate::files::RenderedFile;

/// Where etcd keeps its data.
pub const ETCD_DATA: &str = "/var/lib/etcd";

/// What `etcd.service` reads: one variable with all arguments.
pub const ETCD_ARGUMENTS: &str = "/etc/etcd/etcd.env";

/// Where a member serves clients.
pub const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
const METRICS_PORT: u16 = 2381;

/// How this node's etcd member came to be. It only matters when etcd first starts on an empty
/// directory, but it is part of the manifest: keep to it, or etcd is restarted for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EtcdWish {
    /// The first member of a new cluster.
    New {
        /// The member's name.
        name: String,
    },
    /// A member added to a cluster that exists.
    Join {
        /// Every member by name and peer URL, this one among them.
        initial_cluster: Vec<(String, String)>,
    },
    /// A member whose data is here: with it etcd ignores how it is told to begin. Told this, it does
    /// not begin at all on an empty directory, whoever starts it.
    Begun,
}

/// Where the members of other machines reach the one on this address.
#[must_use]
pub fn etcd_peer_url(node_ip: std::net::IpAddr) -> String {
    url("https", node_ip, PEER_PORT)
}

/// Where a control plane asks for etcd that is on other machines; none where its own member serves it.
#[must_use]
pub fn etcd_endpoints(config: &MachineConfig) -> Option<Vec<String>> {
    let external = config.external_etcd();
    let external = external.map(|all| all.iter().map(Endpoint::url).collect());
    external.or_else(|| {
        let members = config.etcd_members()?.iter();
        Some(members.map(|ip| url("https", *ip, CLIENT_PORT)).collect())
    })
}

/// What etcd is started from: the manifest of its static pod, or its unit's arguments, which are the same.
#[must_use]
pub fn etcd_file(config: &MachineConfig, facts: &HostFacts, wish: &EtcdWish) -> RenderedFile {
    let member = member(config, facts, wish);
    match config.etcd_run_as() {
        EtcdRunAs::Pod => member.file(config),
        // No argument has anything in it that systemd would take for more than itself: such are refused
        // with the document.
        EtcdRunAs::Unit => {
            let text = format!("ARGUMENTS=\"{}\"\n", member.args.join(" "));
            RenderedFile::private(ETCD_ARGUMENTS, text)
        }
    }
}

fn member(config: &MachineConfig, facts: &HostFacts, wish: &EtcdWish) -> Component {
    let version = *config.kubernetes_version();
    let source = match config.etcd_run_as() {
        EtcdRunAs::Pod => config.component_source(),
        // A unit runs the OS image's own, wherever other programs come from.
        EtcdRunAs::Unit => &ComponentSource::Embedded,
    };
    let traits = images::etcd_traits(source, version);
    let ip = facts.node_ip;
    let peer = etcd_peer_url(ip);
    let client = url("https", ip, CLIENT_PORT);
    let local = loopback_ip(facts);

    let mut args = Args::new();
    args.set("advertise-client-urls", &client);
    args.set("cert-file", pki("etcd/server.crt"));
    args.set("client-cert-auth", "true");
    args.set("data-dir", ETCD_DATA);
    args.set("initial-advertise-peer-urls", &peer);
    // Two clusters bootstrapped by mistake with the same names and addresses can then not mix, as
    // long as they are not of one config.
    args.set("initial-cluster-token", config.cluster_id());
    args.set("key-file", pki("etcd/server.key"));
    let local_client = url("https", local, CLIENT_PORT);
    args.set("listen-client-urls", format!("{local_client},{client}"));
    args.set("listen-metrics-urls", url("http", local, METRICS_PORT));
    args.set("listen-peer-urls", &peer);
    args.set("peer-cert-file", pki("etcd/peer.crt"));
    args.set("peer-client-cert-auth", "true");
    args.set("peer-key-file", pki("etcd/peer.key"));
    args.set("peer-trusted-ca-file", pki("etcd/ca.crt"));
    args.set("snapshot-count", "10000");
    args.set("trusted-ca-file", pki("etcd/ca.crt"));
    match wish {
        EtcdWish::New { name } => {
            args.set("name", name);
            args.set("initial-cluster", format!("{name}={peer}"));
        }
        EtcdWish::Begun => {
            let name = config.hostname().as_str();
            args.set("name", name);
            args.set("initial-cluster", format!("{name}={peer}"));
            args.set("initial-cluster-state", "existing");
        }
        EtcdWish::Join { initial_cluster } => {
            let members = initial_cluster
                .iter()
                .map(|(name, url)| format!("{name}={url}"));
            args.set("name", config.hostname().as_str());
            args.set("initial-cluster", join(members));
            args.set("initial-cluster-state", "existing");
        }
    }
    let (check, check_value, progress) = if traits.feature_gates {
        (
            "feature-gates",
            "InitialCorruptCheck=true",
            "watch-progress-notify-interval",
        )
    } else {
        let progress = "experimental-watch-progress-notify-interval";
        ("experimental-initial-corrupt-check", "true", progress)
    };
    args.set_if(traits.corrupt_check, check, check_value);
    args.set_if(traits.watch_progress, progress, "5s");

    let mut mounts = Mounts::default();
    mounts.add(
        "etcd-certs",
        &pki("etcd"),
        false,
        PathType::DirectoryOrCreate,
    );
    mounts.add("etcd-data", ETCD_DATA, false, PathType::DirectoryOrCreate);
    mounts.extend(&config.etcd().extra_volumes);

    Component {
        name: "etcd",
        program: images::etcd(source, version),
        args: args.finish(&config.etcd().extra_args, version),
        mounts,
        probes: probes(facts, traits.livez, version),
        // The ephemeral storage that kubeadm asked for until 1.22 is left out: of a node that has just
        // registered the API knows none, and kubelet refuses the pod for good by that.
        requests: vec![("cpu", "100m"), ("memory", "100Mi")],
        annotations: vec![("kubeadm.kubernetes.io/etcd.advertise-client-urls", client)],
    }
}

/// etcd is probed where it serves its metrics, without a client certificate.
fn probes(facts: &HostFacts, livez: bool, version: KubernetesVersion) -> Probes {
    let (live, ready, startup) = if livez {
        ("/livez", Some("/readyz"), "/readyz")
    } else if gates::ETCD_HEALTH_QUERIES.holds(version) {
        (
            "/health?exclude=NOSPACE&serializable=true",
            None,
            "/health?serializable=false",
        )
    } else {
        ("/health", None, "/health")
    };
    Probes {
        host: Some(loopback_ip(facts).to_string()),
        port: METRICS_PORT,
        scheme: "HTTP",
        live,
        ready,
        startup,
    }
}
