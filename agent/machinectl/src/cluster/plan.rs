//! What a local cluster is to be: its machines and their documents.

use std::net::TcpListener;

use machine_config::generate::{self, ClusterDescription, NodeDescription};
use machine_config::{ClusterSecrets, KubernetesVersion, Role};
use machine_pki::Secret;
use serde_json::{Value, json};

use super::args::CreateArgs;
use super::probe::Speed;
use super::state::{Machine, State};
use crate::failure::Failure;
use crate::files;
use crate::target::Node;

/// QEMU's user network gives its only guest this address.
const ALONE: &str = "10.0.2.15";
/// A range for documentation: no network that a workstation reaches is hidden by it.
const SHARED: &str = "198.51.100";
/// What members and leaders allow each other where several are emulated on one host: etcd's rule of ten
/// heartbeats to an election, in milliseconds, and leases that outlive a slow renewal.
const LATE: [(&str, &[(&str, &str)]); 3] = [
    (
        "etcd",
        &[
            ("heartbeat-interval", "1000"),
            ("election-timeout", "10000"),
        ],
    ),
    ("controllerManager", LEASES),
    ("scheduler", LEASES),
];
const LEASES: &[(&str, &str)] = &[
    ("leader-elect-lease-duration", "120s"),
    ("leader-elect-renew-deadline", "90s"),
    ("leader-elect-retry-period", "15s"),
];
/// Milliseconds between advertisements of a holder that is emulated, and late at times.
const EMULATED_INTERVAL: u32 = 1000;
/// Where several control planes are reached.
const VIRTUAL: &str = "198.51.100.10";

/// The machines: control planes, then workers.
pub(super) fn machines(args: &CreateArgs) -> Result<State, Failure> {
    let control_planes = usize::from(args.control_planes);
    let count = control_planes + usize::from(args.workers);
    let shared = count > 1;
    let ports = free_ports(2 * count + 1)?;
    let (shared_port, rest) = ports.split_first().ok_or_else(no_port)?;
    let mut machines = Vec::new();
    for (index, pair) in rest.chunks_exact(2).enumerate() {
        let name = match index.checked_sub(control_planes) {
            None => format!("cp{}", index + 1),
            Some(worker) => format!("w{}", worker + 1),
        };
        let id = machine_pki::random_id()
            .map_err(|error| Failure::failed(format!("make an identity for {name}: {error}")))?;
        machines.push(Machine {
            name,
            api_port: pair[0],
            kubernetes_port: pair[1],
            id,
            address: shared.then(|| format!("{SHARED}.{}", 11 + index)),
        });
    }
    let shared_port = shared.then_some(*shared_port);
    Ok(State {
        name: args.name.clone(),
        shared_port,
        machines,
        boots: None,
    })
}

fn no_port() -> Failure {
    Failure::failed("this host has no free port")
}

/// Ports that are free now. All are held until all are found, so no two are the same.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let held: Result<Vec<_>, _> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    let told = |error: std::io::Error| {
        Failure::failed(format!("find a free port: {}", files::plain(&error)))
    };
    let held = held.map_err(told)?;
    held.iter()
        .map(|held| held.local_addr().map(|addr| addr.port()).map_err(told))
        .collect()
}

/// How this host reaches the machines.
pub(super) fn nodes(state: &State) -> Vec<Node> {
    let node = |machine: &Machine| Node {
        name: machine.name.clone(),
        address: format!("127.0.0.1:{}", machine.api_port),
    };
    state.machines.iter().map(node).collect()
}

/// Each machine's document stream, in the machines' order.
pub(super) fn documents(
    state: &State,
    secrets: &ClusterSecrets,
    args: &CreateArgs,
    speed: Speed,
) -> Result<Vec<Secret>, Failure> {
    let first = state
        .machines
        .first()
        .and_then(|first| first.address.as_deref());
    let control_planes = state.machines.iter();
    let control_planes = control_planes.take(usize::from(args.control_planes));
    let virtual_ip = (args.control_planes > 1).then_some(VIRTUAL);
    let described = state
        .machines
        .iter()
        .enumerate()
        .map(|(index, machine)| NodeDescription {
            hostname: machine.name.clone(),
            role: if index < usize::from(args.control_planes) {
                Role::ControlPlane
            } else {
                Role::Worker
            },
        });
    let description = ClusterDescription {
        name: state.name.clone(),
        endpoint: format!("{}:6443", virtual_ip.or(first).unwrap_or(ALONE)),
        control_planes: control_planes.filter_map(|m| m.address.clone()).collect(),
        virtual_ip: virtual_ip.map(str::to_owned),
        kubernetes_version: args.kubernetes_version.clone(),
        nodes: described.collect(),
        // What this host's ports lead to.
        cert_sans: vec!["127.0.0.1".into()],
        node_subnets: first.iter().map(|_| format!("{SHARED}.0/24")).collect(),
        // A cluster without workers would run nothing otherwise.
        allow_scheduling_on_control_planes: args.workers == 0,
        ..ClusterDescription::default()
    };
    let made = generate::documents(&description, secrets, std::time::SystemTime::now())
        .map_err(|error| Failure::refused(error.to_string()))?;
    let spared = spared(args, speed);
    let streams = made
        .iter()
        .zip(&state.machines)
        .map(|(documents, machine)| {
            let config = fitted(&documents.config, machine, &spared, patience(state, speed));
            let config = config.map_err(|error| {
                Failure::failed(format!("make the config of {}: {error}", machine.name))
            })?;
            Ok(Secret::new(format!(
                "{config}---\n{}",
                documents.secrets.expose()
            )))
        });
    streams.collect()
}

/// What an emulated machine cannot keep up with, and a small cluster does not need
/// (docs/decisions/0008): a component, and which of its arguments is to say no.
fn spared(args: &CreateArgs, speed: Speed) -> Vec<(&'static str, &'static str)> {
    if speed.kvm {
        return Vec::new();
    }
    let mut all = Vec::new();
    // Of several each would lead.
    if args.control_planes == 1 {
        all.push(("controllerManager", "leader-elect"));
        all.push(("scheduler", "leader-elect"));
    }
    let version = args.kubernetes_version.parse::<KubernetesVersion>();
    if version.is_ok_and(|version| !version.at_least(25)) {
        all.push(("apiServer", "enable-priority-and-fairness"));
    }
    all
}

/// What an emulated control plane takes to start, in seconds: kubeadm's four minutes by how slow it is,
/// and by how many share this host's processors.
fn patience(state: &State, speed: Speed) -> Option<u64> {
    let machines = u64::try_from(state.machines.len()).unwrap_or(1);
    let seconds = speed.deadline(240 * machines).as_secs();
    (!speed.kvm).then(|| seconds.clamp(240, 3600))
}

/// The document as this machine needs it.
fn fitted(
    config: &str,
    machine: &Machine,
    spared: &[(&str, &str)],
    patience: Option<u64>,
) -> Result<String, String> {
    let mut value: Value = serde_saphyr::from_str(config).map_err(|error| error.to_string())?;
    // Two cards: one to this host, one to the other machines.
    if let Some(address) = &machine.address {
        value["machine"]["network"] = json!({
            "interfaces": [
                { "hardwareAddress": machine.mac(0), "dhcp": true },
                { "hardwareAddress": machine.mac(1), "addresses": [format!("{address}/24")] },
            ],
        });
    }
    if value["machine"]["role"] == "controlplane" {
        for (component, name) in spared {
            value["cluster"][component]["extraArgs"] = json!([{ "name": name, "value": "false" }]);
        }
        if let Some(seconds) = patience {
            value["cluster"]["apiServer"]["timeoutForControlPlane"] = format!("{seconds}s").into();
        }
        // Of several each hears of the others late.
        if value["cluster"]["virtualIP"].is_object() && patience.is_some() {
            value["cluster"]["virtualIP"]["advertIntervalMilliseconds"] = EMULATED_INTERVAL.into();
            for (component, arguments) in LATE {
                let arguments = arguments
                    .iter()
                    .map(|(name, value)| json!({ "name": name, "value": value }));
                value["cluster"][component]["extraArgs"] = [
                    value["cluster"][component]["extraArgs"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default(),
                    arguments.collect(),
                ]
                .concat()
                .into();
            }
        }
    }
    serde_saphyr::to_string(&value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::args::Size;
    use super::*;

    fn args(control_planes: u8, workers: u8) -> CreateArgs {
        CreateArgs {
            control_planes,
            name: "local".into(),
            image: "image".into(),
            workers,
            kubernetes_version: "v1.20.2".into(),
            size: Size {
                memory: 4096,
                cpus: None,
                disk: 12,
            },
        }
    }

    #[test]
    fn only_emulated_machines_are_spared() {
        let speed = |kvm| Speed { kvm, factor: 1.0 };
        let with = |control_planes, version: &str| CreateArgs {
            kubernetes_version: version.to_owned(),
            ..args(control_planes, 0)
        };
        let fairness = ("apiServer", "enable-priority-and-fairness");
        assert_eq!(spared(&with(1, "v1.20.2"), speed(false)).len(), 3);
        assert_eq!(spared(&with(1, "v1.20.2"), speed(true)), []);
        assert_eq!(spared(&with(1, "v1.25.0"), speed(false)).len(), 2);
        assert_eq!(spared(&with(3, "v1.20.2"), speed(false)), [fairness]);
    }

    #[test]
    fn every_machines_document_is_valid() {
        let text = generate::secrets(std::time::SystemTime::now()).unwrap();
        let secrets = machine_config::read_secrets(text.expose().as_bytes()).unwrap();
        for (control_planes, workers, kvm) in [
            (1, 0, true),
            (1, 0, false),
            (1, 2, true),
            (1, 2, false),
            (3, 0, false),
            (3, 2, false),
        ] {
            let args = args(control_planes, workers);
            let count = usize::from(control_planes + workers);
            let state = machines(&args).unwrap();
            let speed = Speed { kvm, factor: 1.0 };
            let documents = documents(&state, &secrets, &args, speed).unwrap();
            assert_eq!(documents.len(), count);
            for (document, machine) in documents.iter().zip(&state.machines) {
                let bundle = machine_config::read(document.expose().as_bytes()).unwrap();
                assert_eq!(bundle.config.hostname().to_string(), machine.name);
                let (config, _) = document.expose().split_once("\n---\n").unwrap();
                let config: Value = serde_saphyr::from_str(config).unwrap();
                let control_plane = bundle.config.role().is_control_plane();
                assert_eq!(control_plane, machine.name.starts_with("cp"));
                let emulated = Speed {
                    kvm: false,
                    ..speed
                };
                for (component, name) in spared(&args, emulated) {
                    let no = json!([{ "name": name, "value": "false" }]);
                    let said = config["cluster"][component]["extraArgs"] == no;
                    assert_eq!(said, !kvm && control_plane, "{component}");
                }
                assert_eq!(
                    bundle.config.network().interfaces.len(),
                    if count == 1 { 0 } else { 2 }
                );
            }
            let mut ports: Vec<u16> = state
                .machines
                .iter()
                .flat_map(|m| [m.api_port, m.kubernetes_port])
                .collect();
            ports.extend(state.shared_port);
            let count = ports.len();
            ports.sort_unstable();
            ports.dedup();
            assert_eq!(ports.len(), count);
        }
    }
}
