//! What this machine should be: everything a document and the host's facts
//! decide, before anything is looked at.

use std::net::IpAddr;
use std::time::SystemTime;

use machine_config::{ClusterSecrets, EtcdRunAs, MachineConfig, NetworkAddon, Role};
use serde::Serialize;
use serde_json::Value;

use crate::digest::digest;
use crate::facts::HostFacts;
use crate::files::RenderedFile;
use crate::membership::Membership;
use crate::render::{self, EtcdWish, Leaf};

/// Where the built-in network's configuration goes; its content depends on
/// what the cluster gave this node.
pub const CNI_FILE: &str = "/etc/cni/net.d/10-bridge.conflist";

/// The unit of the load balancer.
pub const LOAD_BALANCER: &str = "haproxy.service";
/// The unit that etcd's member runs as where it is no static pod.
pub const ETCD: &str = "etcd.service";
/// The unit that loads the firewall's rules.
pub const FIREWALL: &str = "machined-firewall.service";
/// The unit that holds the virtual IP.
pub const VIRTUAL_IP: &str = "keepalived.service";

/// Where a file can only be ours, `*` for any name: one that is there and not wanted is of an earlier
/// document, and goes.
pub const OURS: [&str; 7] = [
    "/etc/systemd/network/10-machined-*.network",
    "/etc/systemd/resolved.conf.d/90-machined.conf",
    "/etc/systemd/timesyncd.conf.d/90-machined.conf",
    "/etc/containerd/certs.d/*/hosts.toml",
    "/etc/keepalived/keepalived.conf",
    "/etc/keepalived/readyz.env",
    CNI_FILE,
];

/// A unit and what it reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unit {
    /// Full name.
    pub name: &'static str,
    /// The folder it reads them from.
    #[serde(skip)]
    pub place: &'static str,
    /// Its files.
    pub files: Vec<RenderedFile>,
    /// Digest over paths, modes and contents.
    pub inputs: String,
}

impl Unit {
    fn new(name: &'static str, place: &'static str, files: Vec<RenderedFile>) -> Self {
        let mut text = String::new();
        for file in &files {
            text.push_str(&format!(
                "{} {:o} {}\n",
                file.path,
                file.mode,
                file.digest()
            ));
        }
        Self {
            name,
            place,
            inputs: digest(text.as_bytes()),
            files,
        }
    }
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Desired {
    /// The machine's name, and its node's.
    pub hostname: String,
    /// The machine's part.
    pub role: Role,
    /// Sysctls, modules, network, time: each with the system unit to tell.
    pub host: Vec<Unit>,
    /// Whom the machine lets in.
    pub firewall: Unit,
    /// The host's files that no unit has to be told of.
    pub names: Vec<RenderedFile>,
    /// Authorities' certificates and, on control planes, keys.
    pub authorities: Vec<RenderedFile>,
    /// Leaves made on this machine.
    pub leaves: Vec<Leaf>,
    /// containerd; none on a machine that is no node.
    pub runtime: Option<Unit>,
    /// The load balancer of this node; none where it has none.
    pub load_balancer: Option<Unit>,
    /// Who holds the virtual IP; none where there is none to hold.
    pub virtual_ip: Option<Unit>,
    /// Where control planes are, as far as this machine remembers.
    pub control_planes: Vec<IpAddr>,
    /// kubelet; none on a machine that is no node.
    pub kubelet: Option<Unit>,
    /// This control plane's etcd is on other machines: those of role `etcd`, or somebody else's.
    pub etcd_elsewhere: bool,
    /// Where it is then, if that is on the cluster's machines of role `etcd`.
    pub etcd_machines: Vec<IpAddr>,
    /// What etcd is started from, its manifest or its unit's arguments: written only where a cluster may
    /// start or exists.
    pub etcd: Option<RenderedFile>,
    /// What is as right once etcd has begun: the last one is written then, the others are left where
    /// they are, for a change would restart it for nothing.
    pub etcd_begun: Vec<RenderedFile>,
    /// Whether this machine's member is a unit, [`ETCD`], and no static pod.
    pub etcd_unit: bool,
    /// Where this machine's member of etcd is reached by others.
    pub etcd_peer_url: String,
    /// The API server's manifest.
    pub api_server: Option<RenderedFile>,
    /// The manifests of what is a client of the API server: controller manager, scheduler.
    pub controllers: Vec<RenderedFile>,
    /// Objects to apply, in order.
    #[serde(skip)]
    pub objects: Vec<Value>,
    /// Labels of the node.
    pub node_labels: Vec<(String, String)>,
    /// Taints of the node.
    pub node_taints: Vec<(String, String, String)>,
    /// The document, for what depends on what the cluster gives this node.
    #[serde(skip)]
    config: MachineConfig,
}

impl Desired {
    /// From a valid document and what the host says of itself. `token_expires`:
    /// the bootstrap token is made valid until then; `None` makes no token. `joined`: how this
    /// machine became a member of etcd, unless it was the first.
    pub fn new(
        config: &MachineConfig,
        secrets: &ClusterSecrets,
        facts: &HostFacts,
        token_expires: Option<SystemTime>,
        joined: Option<&Membership>,
    ) -> Self {
        let hostname = config.hostname().to_string();
        let control_plane = config.role().is_control_plane();
        let node = config.role().has_node();
        let member = config.has_etcd_member();
        let etcd_unit = member && config.etcd_run_as() == EtcdRunAs::Unit;
        let encryption = render::encryption(secrets).filter(|_| control_plane);
        let wish = match joined {
            Some(joined) => EtcdWish::Join {
                initial_cluster: joined.initial_cluster.clone(),
            },
            None => EtcdWish::New {
                name: hostname.clone(),
            },
        };
        let mut pods = Vec::new();
        if control_plane {
            pods = render::static_pods(config, facts, &wish, encryption.is_some());
        }
        let mut taken = |name: &str| {
            let index = pods.iter().position(|p| p.path.ends_with(name));
            index.map(|i| pods.remove(i))
        };
        let etcd = match etcd_unit {
            true => Some(render::etcd_file(config, facts, &wish)),
            false => taken("/etcd.yaml"),
        };
        let api_server = taken("/kube-apiserver.yaml");
        let joins = member && joined.is_none_or(|joined| !joined.voter);
        let marks = render::node_marks(config);
        let taint =
            |t: &machine_config::Taint| (t.key.clone(), t.value.clone(), t.effect.to_string());
        let (host, names) = host_units(config);
        let mut authorities = render::authorities(config, secrets);
        authorities.extend(encryption);
        Self {
            role: config.role(),
            host,
            firewall: Unit::new(
                FIREWALL,
                "/etc/nftables.d/",
                vec![render::firewall(config, facts)],
            ),
            names,
            runtime: node.then(|| {
                let files = render::containerd(config);
                Unit::new("containerd.service", "/etc/containerd/", files)
            }),
            load_balancer: render::haproxy(config, facts, joins)
                .map(|files| Unit::new(LOAD_BALANCER, "/etc/haproxy/", files)),
            virtual_ip: render::keepalived(config, facts)
                .map(|files| Unit::new(VIRTUAL_IP, "/etc/keepalived/", files)),
            control_planes: facts.control_planes.clone(),
            kubelet: node.then(|| {
                let files = render::kubelet(config, facts);
                Unit::new("kubelet.service", "/var/lib/kubelet/", files)
            }),
            leaves: render::leaves(config, facts),
            authorities,
            etcd,
            etcd_elsewhere: config.etcd_is_elsewhere(),
            etcd_machines: match config.etcd_members() {
                Some(members) if control_plane => members.to_vec(),
                _ => Vec::new(),
            },
            etcd_begun: match member {
                true => {
                    let first = EtcdWish::New {
                        name: hostname.clone(),
                    };
                    [first, EtcdWish::Begun]
                        .iter()
                        .map(|wish| render::etcd_file(config, facts, wish))
                        .collect()
                }
                false => Vec::new(),
            },
            etcd_unit,
            etcd_peer_url: render::etcd_peer_url(facts.node_ip),
            api_server,
            controllers: pods,
            objects: match control_plane {
                true => objects(config, secrets, token_expires),
                false => Vec::new(),
            },
            node_labels: marks.labels.into_iter().collect(),
            node_taints: marks.taints.iter().map(taint).collect(),
            config: config.clone(),
            hostname,
        }
    }

    /// The built-in network's configuration for what this node was given;
    /// `None` where another network is wanted.
    pub fn cni(&self, pod_cidrs: &[ipnet::IpNet]) -> Option<RenderedFile> {
        match self.config.network_addon() {
            NetworkAddon::Bridge if self.role.has_node() => {
                Some(render::cni(&self.config, pod_cidrs))
            }
            NetworkAddon::Bridge | NetworkAddon::None | NetworkAddon::Manifests(_) => None,
        }
    }

    /// Whether strangers are kept out: then who is none has to be known.
    pub fn keeps_strangers_out(&self) -> bool {
        self.config.network().firewall.enabled
    }

    /// The subnets of the cluster's next node where these are taken; `None` where they cannot be foretold.
    pub fn next_pod_cidrs(&self, taken: &[ipnet::IpNet]) -> Option<Vec<ipnet::IpNet>> {
        render::next_pod_cidrs(&self.config, taken)
    }

    /// Whether a controller manager leads by the lease under which subnets are given.
    pub fn leads_by_lease(&self) -> bool {
        render::leads_by_lease(&self.config)
    }

    /// Whether this control plane's kubelet asks the API server beside it and no other.
    pub fn kubelet_keeps_to_its_own(&self) -> bool {
        render::kubelet_keeps_to_its_own(&self.config)
    }

    /// Where the document says that control planes may be.
    pub fn named_control_planes(&self) -> &[std::net::IpAddr] {
        self.config.control_planes()
    }

    /// The cluster's ranges of pod addresses.
    pub fn pod_subnets(&self) -> &[machine_config::IpNet] {
        self.config.pod_subnets()
    }

    /// The cluster's ranges of service addresses.
    pub fn service_subnets(&self) -> &[machine_config::IpNet] {
        self.config.service_subnets()
    }

    /// Below which the cluster's services have their names.
    pub fn dns_domain(&self) -> &str {
        self.config.dns_domain()
    }

    /// Every file whose content is known beforehand.
    pub fn files(&self) -> impl Iterator<Item = &RenderedFile> {
        let of_units = self.units().flat_map(|unit| &unit.files);
        of_units
            .chain(&self.names)
            .chain(&self.authorities)
            .chain(&self.etcd)
            .chain(&self.api_server)
            .chain(&self.controllers)
    }

    /// etcd's unit, reading this; none where its member is a static pod.
    pub fn etcd_unit_of(&self, arguments: &RenderedFile) -> Option<Unit> {
        let unit = || Unit::new(ETCD, "/etc/etcd/", vec![arguments.clone()]);
        self.etcd_unit.then(unit)
    }

    /// The name of every unit that is looked at.
    pub fn unit_names(&self) -> impl Iterator<Item = &'static str> {
        let etcd = self.etcd_unit.then_some(ETCD);
        self.units().map(|unit| unit.name).chain(etcd)
    }

    /// Every unit whose files are known beforehand.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        let units = self.host.iter().chain([&self.firewall]);
        let units = units.chain(&self.runtime).chain(&self.kubelet);
        units.chain(&self.load_balancer).chain(&self.virtual_ip)
    }
}

// Manifests were read once when the document became valid; one that cannot be
// read now is left out rather than blocking the others.
fn objects(
    config: &MachineConfig,
    secrets: &ClusterSecrets,
    token_expires: Option<SystemTime>,
) -> Vec<Value> {
    let mut objects = render::cluster_objects(config, secrets, token_expires);
    objects.extend(render::user_objects(config).unwrap_or_default());
    objects
}

/// Identifies a set of objects.
pub fn objects_digest(objects: &[Value]) -> String {
    digest(Value::from(objects.to_vec()).to_string().as_bytes())
}

// Which system unit reads which directory.
const READERS: [(&str, &str); 5] = [
    ("systemd-modules-load.service", "/etc/modules-load.d/"),
    ("systemd-sysctl.service", "/etc/sysctl.d/"),
    ("systemd-networkd.service", "/etc/systemd/network/"),
    ("systemd-resolved.service", "/etc/systemd/resolved.conf.d/"),
    (
        "systemd-timesyncd.service",
        "/etc/systemd/timesyncd.conf.d/",
    ),
];

fn host_units(config: &MachineConfig) -> (Vec<Unit>, Vec<RenderedFile>) {
    let mut files = render::host(config);
    let mut unit = |(name, place): (&'static str, &'static str)| {
        let (of_it, others) = files.drain(..).partition(|f| f.path.starts_with(place));
        files = others;
        Unit::new(name, place, of_it)
    };
    let units = READERS.into_iter().map(&mut unit).collect();
    (units, files)
}
