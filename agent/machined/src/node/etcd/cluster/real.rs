//! Three machines become members of one etcd, with the real planner, ledger and
//! etcd, while their agents and members are killed; then one loses its disk.
//! Only kubelet is played: what has a manifest is started, and started again.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use machine_config::generate::{self, ClusterDescription, NodeDescription};
use machine_config::{Bundle, Role};
use machine_plan::action::Action;
use machine_plan::desired::Desired;
use machine_plan::facts::HostFacts;
use machine_plan::observed::{Observed, Probe};
use machine_plan::stages::{Stage, verdict};
use machine_plan::verdict::Verdict;
use rand::RngExt;
use tokio::task::JoinHandle;

use super::{Cluster, Whom, remembered};
use crate::ledger::{Ledger, OrderState};
use crate::node::files;
use crate::testing::control_plane::{Ports, arguments, below, etcd_program, place};
use crate::testing::{Process, Scratch};

/// For all members to be there on a busy machine.
const TOGETHER: Duration = Duration::from_secs(180);

/// What an agent does beside its files.
struct Machine {
    name: String,
    address: IpAddr,
    others: BTreeSet<IpAddr>,
    bundle: Bundle,
    scratch: Scratch,
    ledger: Ledger,
    cluster: Cluster,
    ports: Ports,
}

impl Machine {
    fn path(&self, path: &str) -> String {
        below(self.scratch.path(), path)
    }

    fn manifest(&self) -> String {
        self.path("/etc/kubernetes/manifests/etcd.yaml")
    }

    fn facts(&self) -> HostFacts {
        HostFacts {
            resolv_conf_stub: false,
            ..HostFacts::at(self.address)
        }
    }

    fn desired(&self) -> Desired {
        let joined = self.ledger.membership().unwrap();
        let secrets = self.bundle.secrets.as_ref().unwrap();
        Desired::new(
            &self.bundle.config,
            secrets,
            &self.facts(),
            None,
            joined.as_ref(),
        )
    }

    fn begun(&self) -> bool {
        files::has_log(Path::new(&self.path("/var/lib/etcd/member/wal"))) == Probe::Seen(())
    }

    fn at(&self, desired: &Desired) -> BTreeSet<IpAddr> {
        let joined = self.ledger.membership().unwrap();
        match Whom::of(self.begun(), self.ledger.founding(), joined.as_ref()) {
            Whom::Own => [self.address].into(),
            Whom::Nobody => BTreeSet::new(),
            Whom::Others => {
                let known = joined.map(|joined| remembered(&joined, &desired.etcd_peer_url));
                // As the cluster's API knows them; it has no part in this test.
                known
                    .unwrap_or_default()
                    .union(&self.others)
                    .copied()
                    .collect()
            }
        }
    }

    async fn observe(&self, desired: &Desired) -> Observed {
        let path = desired.etcd.as_ref().unwrap().path.clone();
        let order = self.ledger.bootstrap_order().unwrap().map(|o| o.state);
        let membership = self.ledger.membership().unwrap();
        Observed {
            etcd_data: if self.begun() {
                Probe::Seen(())
            } else {
                Probe::Absent
            },
            membership: membership.map_or(Probe::Absent, Probe::Seen),
            members: self.cluster.members(&self.at(desired)).await,
            bootstrap_ordered: order == Some(OrderState::Ordered),
            bootstrap_done: order == Some(OrderState::Done),
            files: [(path, files::look(&self.manifest()))].into(),
            ..Observed::default()
        }
    }

    /// One turn of its loop, the stages of etcd alone. Returns whether all was settled.
    async fn turn(&self) -> bool {
        let desired = self.desired();
        let observed = self.observe(&desired).await;
        for stage in [Stage::Etcd, Stage::Members] {
            match verdict(stage, &desired, &observed, 0).unwrap() {
                Verdict::Settled => {}
                Verdict::Act { actions } => {
                    for action in actions {
                        if let Err(error) = self.execute(&desired, &action).await {
                            eprintln!("{}: {action}: {error}", self.name);
                        }
                    }
                    return false;
                }
                other => {
                    eprintln!("{}: {other:?}", self.name);
                    return false;
                }
            }
        }
        if self.begun() && self.ledger.founding() {
            self.ledger.finish_bootstrap().unwrap();
        }
        true
    }

    async fn execute(&self, desired: &Desired, action: &Action) -> Result<(), super::NodeError> {
        let at = self.at(desired);
        match action {
            Action::WriteFile { file } => {
                let path = self.manifest();
                files::write(&machine_plan::files::RenderedFile {
                    path,
                    ..file.clone()
                })
            }
            Action::JoinEtcd { name, peer_url } => {
                self.cluster.join(&at, (name, peer_url), &self.ledger).await
            }
            Action::PromoteMember { id, name } => self.cluster.promote(&at, (*id, name)).await,
            Action::RemoveMember { id, name, .. } => self.cluster.remove(&at, (*id, name)).await,
            Action::KeepMembership { membership } => Ok(self.ledger.keep_membership(membership)?),
            other => panic!("no business of etcd: {other}"),
        }
    }

    fn start(&self) -> Process {
        let manifest = self.desired().etcd.unwrap();
        let written = std::fs::read_to_string(self.manifest()).unwrap();
        let manifest = machine_plan::files::RenderedFile {
            content: machine_plan::files::Content::Secret(machine_pki::Secret::new(written)),
            ..manifest
        };
        let words = arguments(&manifest);
        let words = words.iter().map(|word| self.ports.moved(&self.path(word)));
        let log = self.scratch.path().join("etcd.log");
        Process::start(Command::new(etcd_program()).args(words), log)
    }

    fn wipe(&self) {
        for folder in ["/var/lib/etcd", "/etc/kubernetes/manifests"] {
            std::fs::remove_dir_all(self.path(folder)).unwrap();
        }
    }
}

fn agent(machine: &Arc<Machine>) -> JoinHandle<()> {
    let machine = Arc::clone(machine);
    tokio::spawn(async move {
        loop {
            let pause = if machine.turn().await { 1000 } else { 100 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    })
}

struct Machines {
    machines: Vec<Arc<Machine>>,
    agents: Vec<JoinHandle<()>>,
    etcds: Vec<Option<Process>>,
}

impl Machines {
    fn new() -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = |index: u8| IpAddr::from(Ipv4Addr::new(127, 80 + index, high, low));
        let names = ["cp1", "cp2", "cp3"];
        let node = |name: &str| NodeDescription {
            hostname: name.to_owned(),
            role: Role::ControlPlane,
        };
        let secrets = generate::secrets(SystemTime::now()).unwrap();
        let secrets = machine_config::read_secrets(secrets.expose().as_bytes()).unwrap();
        let description = ClusterDescription {
            name: "demo".to_owned(),
            endpoint: "192.0.2.1:6443".to_owned(),
            kubernetes_version: "v1.20.2".to_owned(),
            nodes: names.map(node).into(),
            ..ClusterDescription::default()
        };
        let documents = generate::documents(&description, &secrets, SystemTime::now()).unwrap();
        let machine = |(index, document): (u8, &generate::NodeDocuments)| {
            let scratch = Scratch::new();
            let text = document.stream().expose().to_owned();
            let bundle = machine_config::read(text.as_bytes()).unwrap();
            let others = (0..3)
                .filter(|other| *other != index)
                .map(address)
                .collect();
            let machine = Machine {
                name: names[usize::from(index)].to_owned(),
                address: address(index),
                others,
                ledger: Ledger::open(&scratch.path().join("ledger"), crate::boot::clock()).unwrap(),
                cluster: Cluster::new(below(scratch.path(), super::PKI)),
                ports: Ports::free(),
                bundle,
                scratch,
            };
            place(machine.scratch.path(), &machine.desired(), &machine.bundle);
            Arc::new(machine)
        };
        let machines: Vec<_> = (0..).zip(&documents).map(machine).collect();
        Self {
            agents: machines.iter().map(agent).collect(),
            etcds: machines.iter().map(|_| None).collect(),
            machines,
        }
    }

    /// What kubelet does.
    fn tick(&mut self) {
        for (machine, etcd) in self.machines.iter().zip(&mut self.etcds) {
            let ended = etcd.as_mut().is_none_or(|etcd| etcd.ended());
            if ended && Path::new(&machine.manifest()).exists() {
                *etcd = Some(machine.start());
            }
        }
    }

    fn kill_agent(&mut self, index: usize) {
        self.agents[index].abort();
        self.agents[index] = agent(&self.machines[index]);
    }

    async fn until(&mut self, what: &str, mut done: impl AsyncFnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !done(self).await {
            self.tick();
            assert!(
                begun.elapsed() < TOGETHER,
                "{what}: not within {} s",
                TOGETHER.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stock etcdctl at one of them: name, id and whether a learner, of all who have started.
    fn listed(&self, at: usize) -> Vec<(String, String, bool)> {
        let machine = &self.machines[at];
        let pki = |name: &str| machine.path(&format!("{}/{name}", super::PKI));
        let ran = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=https://{}:2379", machine.address))
            .arg(format!("--cacert={}", pki("ca.crt")))
            .arg(format!("--cert={}", pki("healthcheck-client.crt")))
            .arg(format!("--key={}", pki("healthcheck-client.key")))
            .args(["--command-timeout=5s", "member", "list"])
            .output()
            .expect("etcdctl is missing: .ci/setup tests installs it");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let rows = text
            .lines()
            .map(|line| line.split(", ").collect::<Vec<_>>());
        let started = rows.filter(|row| row.len() == 6 && row[1] == "started");
        started
            .map(|row| (row[2].to_owned(), row[0].to_owned(), row[5] == "true"))
            .collect()
    }

    async fn until_three_voters(&mut self) {
        let all = async |this: &mut Self| {
            let listed = this.listed(0);
            listed.len() == 3 && listed.iter().all(|(_, _, learner)| !learner)
        };
        self.until("three voters", all).await;
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for agent in &self.agents {
            agent.abort();
        }
    }
}

#[tokio::test]
async fn three_members_come_together_under_kills_and_a_wiped_one_comes_back() {
    let mut machines = Machines::new();
    machines.machines[0].ledger.order_bootstrap("test").unwrap();
    let mut random = rand::rng();
    let mut left = 40;
    let together = async |this: &mut Machines| {
        // Anybody's agent, or any member but the only voter's: what is lost is asked for again.
        if left > 0 && random.random_bool(0.2) {
            left -= 1;
            let index = random.random_range(0..3);
            match random.random_bool(0.7) {
                true => this.kill_agent(index),
                false => drop(this.etcds[index].take()),
            }
        }
        left == 0
            && this
                .listed(0)
                .iter()
                .filter(|(_, _, learner)| !learner)
                .count()
                == 3
    };
    machines.until("three voters, under kills", together).await;
    machines.until_three_voters().await;
    let before = machines.listed(0);

    // The founder's disk: the one that could be tempted to found again.
    // A disk is replaced with the machine off.
    machines.agents[0].abort();
    let _ = (&mut machines.agents[0]).await;
    drop(machines.etcds[0].take());
    machines.machines[0].wipe();
    machines.agents[0] = agent(&machines.machines[0]);
    let id = |listed: &[(String, String, bool)], name: &str| {
        listed
            .iter()
            .find(|(n, ..)| n == name)
            .map(|(_, id, _)| id.clone())
    };
    let old = id(&before, "cp1");
    let back = async |this: &mut Machines| {
        let listed = this.listed(1);
        let new = id(&listed, "cp1");
        new.is_some() && new != old && listed.iter().filter(|(_, _, learner)| !learner).count() == 3
    };
    machines.until("the wiped one is a voter again", back).await;
    let now = machines.listed(1);
    for name in ["cp2", "cp3"] {
        assert_eq!(
            id(&before, name),
            id(&now, name),
            "{name} stayed who it was"
        );
    }
    what_is_copied_is_whole(&machines).await;
    who_leads_hands_over(&machines).await;
}

async fn who_leads_hands_over(machines: &Machines) {
    for machine in &machines.machines {
        let leads = async || {
            let members = machine.cluster.members(&[machine.address].into()).await;
            let members = members.seen().unwrap();
            members.iter().find(|m| m.leader).unwrap().name.clone()
        };
        let before = leads().await;
        let url = machine.desired().etcd_peer_url;
        let next = machine
            .cluster
            .forfeit(machine.address, &url)
            .await
            .unwrap();
        match next {
            Some(next) => {
                assert_eq!(before, machine.name, "only who leads hands over");
                assert_eq!(leads().await, next);
            }
            None => assert_ne!(before, machine.name),
        }
    }
}

async fn what_is_copied_is_whole(machines: &Machines) {
    let machine = &machines.machines[0];
    let at = BTreeSet::from([machine.address]);
    let members = machine.cluster.members(&at).await;
    let members = members.seen().unwrap();
    assert_eq!(
        members.iter().filter(|m| m.leader).count(),
        1,
        "{members:?}"
    );
    let mut parts = machine.cluster.snapshot(&at).await.unwrap();
    let mut bytes = Vec::new();
    let mut left = u64::MAX;
    while let Some(part) = parts.next().await {
        let (blob, remaining) = part.unwrap();
        bytes.extend(blob);
        left = remaining;
    }
    assert_eq!(left, 0);
    // etcdctl finds the digest at its end right, or refuses it.
    let file = machine.scratch.path().join("snapshot.db");
    crate::durable::replace(&file, &bytes, 0o600).unwrap();
    let restored = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "restore"])
        .arg(&file)
        .arg(format!(
            "--data-dir={}",
            machine.scratch.path().join("restored").display()
        ))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{said}");
}
