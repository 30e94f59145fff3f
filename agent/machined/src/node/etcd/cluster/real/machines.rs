//! Three machines with the real planner, ledger and etcd. Only kubelet is played: what has a manifest
//! is started, and started again.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use machine_config::generate::{self, ClusterDescription, NodeDescription};
use machine_config::{Bundle, Role};
use machine_plan::action::Action;
use machine_plan::desired::Desired;
use machine_plan::facts::HostFacts;
use machine_plan::files::RenderedFile;
use machine_plan::membership::Member;
use machine_plan::observed::{FileSeen, Observed, Probe, Restored};
use machine_plan::order::EtcdVerb;
use machine_plan::stages::{Stage, verdict};
use machine_plan::verdict::Verdict;
use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::ledger::{Ledger, OrderState};
use crate::node::etcd::cluster::{Asked, Cluster, PKI, Whom, remembered};
use crate::node::etcd::data::Data;
use crate::node::{NodeError, files};
use crate::testing::control_plane::{Ports, arguments, below, etcd_program, etcd_tool, place};
use crate::testing::{Process, Scratch};

/// For all members to be there on a busy machine.
pub(super) const TOGETHER: Duration = Duration::from_secs(180);

/// What an agent does beside its files.
pub(super) struct Machine {
    pub(super) name: String,
    /// Its own, and the one before: a member listens there until it is started anew.
    addresses: Mutex<(IpAddr, Option<IpAddr>)>,
    /// Where the cluster's API knows others; it has no part in this test.
    others: Mutex<BTreeSet<IpAddr>>,
    pub(super) bundle: Bundle,
    pub(super) scratch: Scratch,
    pub(super) ledger: Ledger,
    pub(super) cluster: Cluster,
    pub(super) ports: Ports,
    pub(super) data: Data,
    /// Its last verdict that was no action.
    pub(super) said: Mutex<String>,
}

impl Machine {
    pub(super) fn path(&self, path: &str) -> String {
        below(self.scratch.path(), path)
    }

    pub(super) fn manifest(&self) -> String {
        self.path("/etc/kubernetes/manifests/etcd.yaml")
    }

    pub(super) fn address(&self) -> IpAddr {
        self.addresses.lock().unwrap().0
    }

    fn former(&self) -> Option<IpAddr> {
        self.addresses.lock().unwrap().1
    }

    pub(super) fn others(&self) -> BTreeSet<IpAddr> {
        self.others.lock().unwrap().clone()
    }

    /// Its document says so from now on; the last one is there as well for now.
    pub(super) fn moves_to(&self, address: IpAddr) {
        let before = self.address();
        *self.addresses.lock().unwrap() = (address, Some(before));
        // The stage of certificates is before etcd's.
        place(self.scratch.path(), &self.desired(), &self.bundle);
    }

    /// The cluster's API tells where another is by now.
    pub(super) fn hears_of(&self, address: IpAddr) {
        self.others.lock().unwrap().insert(address);
    }

    pub(super) fn facts(&self) -> HostFacts {
        let mut facts = HostFacts::at(self.address());
        facts.addresses.extend(self.former());
        HostFacts {
            resolv_conf_stub: false,
            ..facts
        }
    }

    pub(super) fn desired(&self) -> Desired {
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

    pub(super) fn begun(&self) -> bool {
        files::has_log(Path::new(&self.path("/var/lib/etcd/member/wal"))) == Probe::Seen(())
    }

    pub(super) fn at(&self, desired: &Desired) -> BTreeSet<IpAddr> {
        let joined = self.ledger.membership().unwrap();
        match Whom::of(self.begun(), self.ledger.founding(), joined.as_ref()) {
            Whom::Own => [self.address()].into(),
            Whom::Nobody => BTreeSet::new(),
            Whom::Others => {
                let known = joined.map(|joined| remembered(&joined, &desired.etcd_peer_url));
                known
                    .unwrap_or_default()
                    .union(&self.others())
                    .copied()
                    .collect()
            }
        }
    }

    fn anywhere(&self) -> BTreeSet<IpAddr> {
        let mut at = self.others();
        at.insert(self.address());
        at.extend(self.former());
        at
    }

    // As a node does: where its own member cannot say, others may know that it is none any more.
    async fn asked(&self, desired: &Desired) -> Asked {
        let joined = self.ledger.membership().unwrap();
        let order = self.ledger.etcd_order().unwrap();
        let leaving = order.is_some_and(|o| !o.done && o.verb == EtcdVerb::Leave);
        let mut at = self.at(desired);
        if leaving {
            at.extend(&self.others());
        }
        let asked = self.cluster.ask(&at).await;
        let own = joined.as_ref().is_some_and(|joined| joined.voter);
        if asked.members.seen().is_some() || !own {
            return asked;
        }
        // A node asks at its loopback address, which the machines of this test share.
        if let Some(former) = self.former() {
            let asked = self.cluster.ask(&[former].into()).await;
            if asked.members.seen().is_some() {
                return Asked {
                    astray: true,
                    ..asked
                };
            }
        }
        let elsewhere = self.cluster.ask(&self.others()).await;
        let here = |m: &Member| {
            Some(m.id) == joined.as_ref().map(|j| j.id)
                && m.peer_urls.contains(&desired.etcd_peer_url)
        };
        let listed = |all: &Vec<Member>| all.iter().any(here);
        match elsewhere.members.seen().is_some_and(|all| !listed(all)) {
            true => elsewhere,
            false => asked,
        }
    }

    pub(super) async fn observe(&self, desired: &Desired) -> Observed {
        let path = desired.etcd.as_ref().unwrap().path.clone();
        let order = self.ledger.bootstrap_order().unwrap().map(|o| o.state);
        let etcd_order = self.ledger.etcd_order().unwrap();
        let open = etcd_order.as_ref().filter(|order| !order.done);
        let membership = self.ledger.membership().unwrap();
        // Before the data, as a node does.
        let asked = self.asked(desired).await;
        Observed {
            etcd_data: if self.begun() {
                Probe::Seen(())
            } else {
                Probe::Absent
            },
            boot: crate::boot::boot_id(),
            membership: membership.map_or(Probe::Absent, Probe::Seen),
            members: asked.members,
            turn: asked.turn,
            etcd_astray: asked.astray,
            addresses: self.facts().addresses,
            restored: open.map_or(Restored::Nothing, |order| self.data.restored(&order.id)),
            etcd_runs: open.map_or(Probe::Absent, |_| self.data.runs()),
            etcd_order: etcd_order.map_or(Probe::Absent, Probe::Seen),
            bootstrap_ordered: order == Some(OrderState::Ordered),
            bootstrap_done: order == Some(OrderState::Done),
            files: [(path, files::look(&self.manifest()))].into(),
            ..Observed::default()
        }
    }

    /// One turn of its loop, the stages of etcd alone. Returns whether all was settled.
    pub(super) async fn turn(&self) -> bool {
        let desired = self.desired();
        let mut observed = self.observe(&desired).await;
        for stage in [Stage::Etcd, Stage::Members, Stage::Turn] {
            // An API server that is well wherever etcd is.
            if stage == Stage::Turn {
                observed.api_server = Probe::Seen(());
                let files = desired.api_server.iter();
                let there = |file: &RenderedFile| {
                    let seen = FileSeen {
                        digest: file.digest(),
                        mode: file.mode,
                    };
                    (file.path.clone(), Probe::Seen(seen))
                };
                observed.files.extend(files.map(there));
            }
            let now = crate::status::now_ms() / 1000;
            match verdict(stage, &desired, &observed, now).unwrap() {
                Verdict::Settled => {}
                Verdict::Act { actions } => {
                    for action in actions {
                        if let Err(error) = self.execute(&desired, &action).await {
                            eprintln!("{}: {action}: {error}", self.name);
                            return false;
                        }
                    }
                    return false;
                }
                other => {
                    let said = format!("{other:?}");
                    eprintln!("{}: {said}", self.name);
                    *self.said.lock().unwrap() = said;
                    return false;
                }
            }
        }
        if self.begun() && self.ledger.founding() {
            self.ledger.finish_bootstrap().unwrap();
        }
        self.said.lock().unwrap().clear();
        true
    }

    pub(super) async fn execute(
        &self,
        desired: &Desired,
        action: &Action,
    ) -> Result<(), NodeError> {
        let at = self.at(desired);
        match action {
            Action::WriteFile { file } => {
                let path = self.manifest();
                files::write(&RenderedFile {
                    path,
                    ..file.clone()
                })
            }
            Action::JoinEtcd { name, peer_url } => {
                self.cluster.join(&at, (name, peer_url), &self.ledger).await
            }
            Action::PromoteMember { id, name } => self.cluster.promote(&at, (*id, name)).await,
            Action::UpdateMember { id, name, peer_url } => {
                let at = self.anywhere();
                self.cluster.update(&at, (*id, name), peer_url).await
            }
            Action::RemoveMember { id, name, .. } => self.cluster.remove(&at, (*id, name)).await,
            Action::TakeTurn { turn, over } => {
                let at = self.anywhere();
                self.cluster.take_turn(&at, turn, over.as_ref()).await
            }
            Action::GiveTurn { seen } => self.cluster.give_turn(&at, seen).await,
            Action::RemoveFile { path } => files::remove(&self.path(path)),
            Action::LeaveEtcd { id, name } => self.cluster.remove(&at, (*id, name)).await,
            Action::RestoreEtcd {
                order,
                from,
                name,
                peer_url,
            } => {
                let as_whom = (name.as_str(), peer_url.as_str());
                let told = self.data.prepare(order, from, as_whom, &self.ledger)?;
                restore(&told).await;
                self.data.settle(order)
            }
            Action::PlaceEtcd { order } => self.data.place(order, &self.ledger),
            Action::SetEtcdAside { order } => self.data.set_aside(order, &self.ledger),
            Action::FinishEtcdOrder { order } => Ok(self.data.finish(order, &self.ledger)?),
            Action::KeepMembership { membership } => Ok(self.ledger.keep_membership(membership)?),
            other => panic!("no business of etcd: {other}"),
        }
    }

    pub(super) fn start(&self) -> Process {
        let manifest = self.desired().etcd.unwrap();
        let written = std::fs::read_to_string(self.manifest()).unwrap();
        let manifest = RenderedFile {
            content: machine_plan::files::Content::Secret(machine_pki::Secret::new(written)),
            ..manifest
        };
        let words = arguments(&manifest);
        let words = words.iter().map(|word| self.ports.moved(&self.path(word)));
        let log = self.scratch.path().join("etcd.log");
        Process::start(Command::new(etcd_program()).args(words), log)
    }

    pub(super) fn wipe(&self) {
        for folder in ["/var/lib/etcd", "/etc/kubernetes/manifests"] {
            std::fs::remove_dir_all(self.path(folder)).unwrap();
        }
    }
}

/// Another address for one of them.
pub(super) fn elsewhere(index: u8) -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 90 + index, high, low).into()
}

pub(super) fn agent(machine: &Arc<Machine>) -> JoinHandle<()> {
    let machine = Arc::clone(machine);
    tokio::spawn(async move {
        loop {
            let pause = if machine.turn().await { 1000 } else { 100 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    })
}

pub(super) struct Machines {
    pub(super) machines: Vec<Arc<Machine>>,
    pub(super) agents: Vec<JoinHandle<()>>,
    pub(super) etcds: Vec<Option<Process>>,
    /// The manifests that these were started by.
    by: Vec<String>,
    /// Switched off.
    pub(super) lost: [bool; 3],
}

impl Machines {
    pub(super) fn new() -> Self {
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
                addresses: Mutex::new((address(index), None)),
                others: Mutex::new(others),
                ledger: Ledger::open(&scratch.path().join("ledger"), crate::boot::clock()).unwrap(),
                cluster: Cluster::new(below(scratch.path(), PKI)),
                ports: Ports::free(),
                data: Data::at(below(scratch.path(), "/var/lib/etcd")),
                said: Mutex::default(),
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
            by: machines.iter().map(|_| String::new()).collect(),
            lost: [false; 3],
            machines,
        }
    }

    /// What kubelet does.
    pub(super) fn tick(&mut self) {
        for (index, (machine, etcd)) in self.machines.iter().zip(&mut self.etcds).enumerate() {
            if self.lost[index] {
                *etcd = None;
                continue;
            }
            let wanted = std::fs::read_to_string(machine.manifest()).ok();
            if let Some(running) = etcd
                && wanted.as_ref() != Some(&self.by[index])
                && !running.ended()
            {
                running.signal(Signal::TERM);
            }
            let ended = etcd.as_mut().is_none_or(|etcd| etcd.ended());
            if let Some(wanted) = wanted.filter(|_| ended) {
                *etcd = Some(machine.start());
                self.by[index] = wanted;
            }
        }
    }

    pub(super) fn kill_agent(&mut self, index: usize) {
        self.agents[index].abort();
        self.agents[index] = agent(&self.machines[index]);
    }

    /// Power goes.
    pub(super) async fn lose(&mut self, index: usize) {
        self.agents[index].abort();
        let _ = (&mut self.agents[index]).await;
        drop(self.etcds[index].take());
        self.lost[index] = true;
    }

    /// Power comes; manifests do not last over it.
    pub(super) fn find(&mut self, index: usize) {
        let _ = std::fs::remove_file(self.machines[index].manifest());
        self.lost[index] = false;
        self.machines[index].said.lock().unwrap().clear();
        self.agents[index] = agent(&self.machines[index]);
    }

    pub(super) async fn until(&mut self, what: &str, mut done: impl AsyncFnMut(&mut Self) -> bool) {
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

    /// Stock etcdctl at one of them.
    pub(super) fn etcdctl(&self, at: usize, arguments: &[&str]) -> String {
        let machine = &self.machines[at];
        let pki = |name: &str| machine.path(&format!("{}/{name}", PKI));
        let ran = Command::new(etcd_tool("etcdctl"))
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=https://{}:2379", machine.address()))
            .arg(format!("--cacert={}", pki("ca.crt")))
            .arg(format!("--cert={}", pki("healthcheck-client.crt")))
            .arg(format!("--key={}", pki("healthcheck-client.key")))
            .arg("--command-timeout=5s")
            .args(arguments)
            .output()
            .expect("etcdctl is missing: .ci/setup tests installs it");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Name, id and whether a learner, of all who have started.
    pub(super) fn listed(&self, at: usize) -> Vec<(String, String, bool)> {
        let text = self.etcdctl(at, &["member", "list"]);
        let rows = text
            .lines()
            .map(|line| line.split(", ").collect::<Vec<_>>());
        let started = rows.filter(|row| row.len() == 6 && row[1] == "started");
        started
            .map(|row| (row[2].to_owned(), row[0].to_owned(), row[5] == "true"))
            .collect()
    }

    /// Where the members are listed.
    pub(super) fn urls(&self, at: usize) -> BTreeSet<String> {
        let text = self.etcdctl(at, &["member", "list"]);
        let urls = text.lines().filter_map(|line| line.split(", ").nth(3));
        urls.map(str::to_owned).collect()
    }

    pub(super) fn voters(&self, at: usize) -> usize {
        let listed = self.listed(at);
        listed.iter().filter(|(_, _, learner)| !learner).count()
    }

    pub(super) async fn until_three_voters(&mut self) {
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

/// What systemd does with the unit, and with what program there is: etcdctl before 3.5 has no etcdutl
/// beside it, and cannot raise revisions.
async fn restore(variables: &str) {
    let unit = include_str!("../../../../../dist/machined-etcd-restore.service");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/usr/bin/etcdutl "));
    let mut line = line.unwrap().to_owned();
    for (name, value) in variables.lines().filter_map(|line| line.split_once('=')) {
        line = line.replace(&format!("${{{name}}}"), value);
        line = line.replace(&format!("${name}"), value);
    }
    let etcdutl = etcd_tool("etcdutl");
    let new = etcdutl.exists();
    let program = if new { etcdutl } else { etcd_tool("etcdctl") };
    let words = line.split_whitespace();
    let words = words.filter(|w| new || !(w.starts_with("--bump") || w.starts_with("--mark")));
    let ran = tokio::process::Command::new(program)
        .env("ETCDCTL_API", "3")
        .args(words)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
}

/// Whether what is restored has revisions beyond all that were.
pub(super) fn raises_revisions() -> bool {
    etcd_tool("etcdutl").exists()
}
