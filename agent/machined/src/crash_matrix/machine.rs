//! A machine for the agent's real hands: a host name, a network and folders of its own, with systemd
//! beside it. They end with the thread.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use machine_config::Role;
use machine_config::generate::{self, ClusterDescription, NodeDescription};
use machine_plan::action::Action;
use machine_plan::desired::Desired;
use machine_plan::observed::{Observed, Probe, Route};
use machine_plan::stages::{Stage, verdict};
use machine_plan::verdict::Verdict;
use nix::sched::{CloneFlags, unshare};

use super::disk::{self, Tree};
use crate::api::fixture;
use crate::going::GoingDown;
use crate::ledger::{Entry, Ledger};
use crate::node::systemd::tests::bench::{Behaviour, Bench};
use crate::node::{Node, facts, routes};

/// Where the agent's state is.
pub(super) const STATE: &str = "/var/lib/machined";

/// This machine's address in its network, and the one that control planes hold by turns.
const NETWORK: &str = "set -e
ip link set lo up
ip link add here type veth peer name there
ip addr add 10.0.2.15/24 dev here
ip link set here up
ip link set there up";
const VIRTUAL_IP: &str = "10.0.2.100";

const FOLDERS: &str = "set -e
mount --make-rprivate /
for folder in /etc /run /var/lib; do mount -t tmpfs none $folder; done";

/// What systemd knows.
static UNITS: [&str; 10] = [
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "containerd.service",
    "kubelet.service",
    "haproxy.service",
    "keepalived.service",
    "machined-etcd-restore.service",
];

/// A story on a machine of its own.
pub(super) fn alone<B, S>(
    bench: impl FnOnce() -> B + Send + 'static,
    story: impl FnOnce(Bench) -> S + Send + 'static,
) where
    B: Future<Output = Bench>,
    S: Future<Output = ()>,
{
    // Looks are large in a build that is not optimized.
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    let thread = thread.spawn(|| {
        let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
        unshare(own).expect("make a machine of its own: run as root");
        sh(NETWORK);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            // It has to see the host's own folders to start.
            let bench = bench().await;
            bench.write(&UNITS.map(|unit| (unit, Behaviour::Works)));
            sh(FOLDERS);
            story(bench).await;
        });
    });
    if let Err(why) = thread.unwrap().join() {
        std::panic::resume_unwind(why);
    }
}

// It runs where this thread is.
fn sh(script: &str) {
    let ran = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// The document of a control plane.
pub(super) fn document() -> String {
    fixture::cluster().control_plane.clone()
}

/// The same with a virtual IP, and with it a load balancer.
pub(super) fn with_virtual_ip() -> String {
    let secrets = generate::secrets(std::time::SystemTime::now()).unwrap();
    let secrets = machine_config::read_secrets(secrets.expose().as_bytes()).unwrap();
    let description = ClusterDescription {
        name: "demo".to_owned(),
        endpoint: format!("{VIRTUAL_IP}:6443"),
        virtual_ip: Some(VIRTUAL_IP.to_owned()),
        kubernetes_version: "v1.20.2".to_owned(),
        nodes: vec![NodeDescription {
            hostname: "cp1".to_owned(),
            role: Role::ControlPlane,
        }],
        ..ClusterDescription::default()
    };
    let documents = generate::documents(&description, &secrets, std::time::SystemTime::now());
    documents.unwrap()[0].stream().expose().to_owned()
}

/// Those that a stage has to do with.
pub(super) type Units = &'static [&'static str];

pub(super) fn units(stage: Stage) -> Units {
    match stage {
        Stage::Host => &UNITS[..5],
        Stage::Runtime => &["containerd.service"],
        Stage::Kubelet => &["kubelet.service"],
        Stage::Endpoint => &["haproxy.service", "keepalived.service"],
        _ => &[],
    }
}

/// What lasts while an agent does not: the kernel's part and systemd's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outside {
    pub(super) hostname: String,
    pub(super) routes: Vec<Route>,
    /// Those that run or have failed.
    pub(super) units: Vec<(&'static str, String)>,
}

impl Outside {
    /// After a boot.
    pub(super) fn fresh() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            routes: Vec::new(),
            units: Vec::new(),
        }
    }

    pub(super) async fn look(bench: &Bench, which: Units) -> Self {
        let Probe::Seen(mut routes) = routes::look().await else {
            panic!("the routes cannot be read")
        };
        routes.sort();
        let mut units = Vec::new();
        for unit in which.iter().copied() {
            match bench.systemd.unit(unit).await {
                Probe::Seen(seen) if seen.active_state == "inactive" => {}
                Probe::Seen(seen) => units.push((unit, seen.active_state)),
                other => panic!("{unit}: {other:?}"),
            }
        }
        Self {
            hostname: facts::hostname(),
            routes,
            units,
        }
    }

    /// Makes it so.
    pub(super) async fn put(&self, bench: &Bench, which: Units) {
        facts::set_hostname(&self.hostname).unwrap();
        let now = Self::look(bench, which).await;
        routes::set(&self.routes, &[]).await.unwrap();
        let other = now.routes.iter().filter(|r| !self.routes.contains(r));
        let other: Vec<_> = other.cloned().collect();
        routes::set(&[], &other).await.unwrap();
        for unit in which.iter().copied() {
            let state = |all: &Self| all.units.iter().find(|u| u.0 == unit).map(|u| u.1.clone());
            let (is, wanted) = (state(&now), state(self));
            match wanted.as_deref() {
                _ if is == wanted => {}
                // One that has failed is cleared by its start.
                None => {
                    bench.systemd.start(unit).await.unwrap();
                    bench.systemd.stop(unit).await.unwrap();
                }
                Some("active") => bench.systemd.start(unit).await.unwrap(),
                Some(_) => {
                    bench.systemd.start(unit).await.unwrap();
                    fail(bench, unit).await;
                }
            }
        }
    }
}

/// Has a unit that runs fail.
pub(super) async fn fail(bench: &Bench, unit: &str) {
    bench.crash(unit).await;
    let failed = async {
        while bench.systemd.unit(unit).await.seen().unwrap().active_state != "failed" {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    crate::testing::within(std::time::Duration::from_secs(30), unit, failed).await;
}

/// One run of the agent.
pub(super) struct Agent {
    pub(super) node: Node,
    pub(super) ledger: Arc<Ledger>,
    pub(super) entry: Arc<Entry>,
}

/// What others would say to it.
pub(super) type Played = fn(&Desired, &mut Observed);

impl Agent {
    pub(super) fn start(bench: &Bench) -> Self {
        let ledger = fixture::ledger(Path::new(STATE));
        Self {
            node: Node::new(
                bench.systemd.clone(),
                Arc::clone(&ledger),
                Arc::default(),
                GoingDown::default(),
            ),
            entry: ledger.current().unwrap(),
            ledger,
        }
    }

    /// What one stage has to say of one look.
    pub(super) async fn look(&self, stage: Stage, played: Played) -> Verdict {
        let facts = self.node.facts(&self.entry);
        let bundle = &self.entry.bundle;
        let secrets = bundle.secrets.as_ref().unwrap();
        let joined = self.ledger.membership().unwrap();
        let desired = Desired::new(&bundle.config, secrets, &facts, None, joined.as_ref());
        let mut observed = self.node.observe(&self.entry, &desired, &facts).await;
        played(&desired, &mut observed);
        let now = crate::status::now_ms() / 1000;
        verdict(stage, &desired, &observed, now).unwrap()
    }

    pub(super) async fn plan(&self, stage: Stage, played: Played) -> Vec<Action> {
        match self.look(stage, played).await {
            Verdict::Act { actions } => actions,
            _ => Vec::new(),
        }
    }

    pub(super) async fn execute(&self, action: &Action) {
        let done = self.node.execute(&self.entry, action).await;
        done.unwrap_or_else(|e| panic!("{action}: {e}"));
    }

    /// Acts until the stage has nothing to do, and tells what it says then.
    pub(super) async fn settle(&self, stage: Stage, played: Played) -> Verdict {
        for _ in 0..20 {
            match self.look(stage, played).await {
                Verdict::Act { actions } => {
                    for action in &actions {
                        self.execute(action).await;
                    }
                }
                other => return other,
            }
        }
        panic!("{stage:?} does not come to an end");
    }
}

/// A machine at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) disk: Tree,
    pub(super) outside: Outside,
}

impl Moment {
    pub(super) async fn look(bench: &Bench, which: Units) -> Self {
        Self {
            disk: disk::read(&disk::roots()),
            outside: Outside::look(bench, which).await,
        }
    }

    pub(super) async fn put(&self, bench: &Bench, which: Units) {
        // The folders last: what a unit does when it is started is not what it did then.
        self.outside.put(bench, which).await;
        disk::put(&disk::roots(), &self.disk);
    }
}
