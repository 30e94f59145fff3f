//! systemd's manager and logind, as far as the agent talks to them, on a real bus. Jobs end at once
//! and well; what needs a scripted failure is tried against the double in the agent's own tests.

use std::io::{BufRead, BufReader};
use std::process::{ExitCode, Stdio};

use anyhow::Context;
use rustix::process::Signal;
use tokio::io::AsyncBufReadExt;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectPath, ObjectServer, OwnedObjectPath, fdo, interface};

use crate::beside::Beside;
use crate::containers::Pods;
use crate::services::Services;
use crate::units::{AGENT, Down, FIREWALL, Units};
use crate::{agent, kubelet, report};

pub(crate) const ADDRESS: &str = "unix:path=/run/dbus/system_bus_socket";
const SYSTEMD: &str = "/org/freedesktop/systemd1";
const LOGIN: &str = "/org/freedesktop/login1";

/// What the harness is told by the exit code: any other is a crash of the double.
const OFF: u8 = 10;
const REBOOT: u8 = 11;

pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    // Opened for both, so that it never ends.
    let console = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/console")
        .context("open the console")?;
    std::thread::spawn(move || {
        for line in BufReader::new(console).lines().map_while(Result::ok) {
            println!("{}", line.trim_end());
        }
    });
    let _bus = start_bus().await?;
    let (units, pods) = (Units::new(), Pods::default());
    let beside = Beside::default();
    let (to_units, to_pods, to_beside) = (units.clone(), pods.clone(), beside.clone());
    std::thread::spawn(move || obey(&to_units, &to_pods, &to_beside));
    let _connection = zbus::connection::Builder::address(ADDRESS)
        .serve_at(
            SYSTEMD,
            Manager(units.clone(), Services::new(units.clone())),
        )
        .serve_at(LOGIN, Login(units.clone()))
        .name("org.freedesktop.systemd1")
        .name("org.freedesktop.login1")
        .build()
        .await
        .context("serve systemd's names")?;
    let down = tokio::select! {
        down = units.down() => down,
        ended = agent::supervise(units.clone()) => { ended?; units.down().await }
        ended = kubelet::run(units.clone(), pods.clone()) => { ended?; Down::Off }
        ended = kubelet::healthz(units.clone()) => { ended?; Down::Off }
        () = report::run(units.clone()) => Down::Off,
    };
    println!("node: goes down: {down:?}");
    // As systemd does it: everything is told at once, and nothing waits for anything else.
    units.signal(AGENT, Signal::TERM);
    beside.stop_all();
    pods.stop_all().await;
    Ok(ExitCode::from(match down {
        Down::Off => OFF,
        Down::Reboot => REBOOT,
    }))
}

/// Orders of the harness: what no part of the node does by itself. Their end is the harness's, and
/// with that the node's.
fn obey(units: &Units, pods: &Pods, beside: &Beside) {
    for order in std::io::stdin().lines().map_while(Result::ok) {
        match order.split_once(' ') {
            Some(("kill", name)) if units.get(name).is_some() => units.signal(name, Signal::KILL),
            Some(("kill", name)) => pods.signal(name, Signal::KILL),
            Some(("freeze", name)) => pods.signal(name, Signal::STOP),
            Some(("thaw", name)) => pods.signal(name, Signal::CONT),
            Some(("run", words)) => beside.run(words),
            _ => println!("node: no such order: {order}"),
        }
    }
    std::process::exit(0);
}

async fn start_bus() -> anyhow::Result<tokio::process::Child> {
    let mut bus = tokio::process::Command::new("/usr/bin/dbus-daemon")
        .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
        .arg(format!("--address={ADDRESS}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start dbus-daemon")?;
    let out = bus.stdout.take().context("dbus-daemon is mute")?;
    let first = tokio::io::BufReader::new(out).lines().next_line().await?;
    first.context("dbus-daemon ended")?;
    Ok(bus)
}

async fn load_rules() -> anyhow::Result<()> {
    let mut nft = tokio::process::Command::new("/usr/sbin/nft");
    nft.args(["-f", "/etc/nftables.d/machined.nft"]);
    let ran = nft.env_clear().stdin(Stdio::null()).output().await;
    let ran = ran.context("run nft")?;
    let why = String::from_utf8_lossy(&ran.stderr);
    anyhow::ensure!(ran.status.success(), "{}: {why}", ran.status);
    Ok(())
}

struct Login(Units);

#[interface(name = "org.freedesktop.login1.Manager")]
impl Login {
    fn reboot(&self, _interactive: bool) {
        self.0.go_down(Down::Reboot);
    }

    fn power_off(&self, _interactive: bool) {
        self.0.go_down(Down::Off);
    }
}

/// As `ListUnitsByNames` gives them: name, description, load, active and sub state, what it follows, its
/// object, and its job's number, type and object.
type Listed = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

struct Manager(Units, Services);

impl Manager {
    async fn job(
        &self,
        operation: &str,
        unit: &str,
        connection: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        if self.0.get(unit).is_none() {
            let why = format!("Unit {unit} not found.");
            return Err(fdo::Error::Failed(why));
        }
        println!("node: {operation} {unit}");
        let mut result = "done";
        match (operation, unit) {
            // What it takes is the kernel's of this node's network alone.
            ("start" | "restart" | "reload", FIREWALL) => match load_rules().await {
                Ok(()) => self.0.runs(unit),
                Err(error) => {
                    println!("node: {unit}: {error:#}");
                    result = "failed";
                }
            },
            // It comes back by itself.
            ("restart", AGENT) => self.0.signal(AGENT, Signal::TERM),
            _ if self.1.job(operation, unit) => {}
            ("stop", _) => {}
            _ => self.0.runs(unit),
        }
        let job = format!("{SYSTEMD}/job/1");
        let job = OwnedObjectPath::try_from(job).map_err(|e| fdo::Error::Failed(e.to_string()))?;
        let (connection, ended, unit) = (connection.clone(), job.clone(), unit.to_owned());
        tokio::spawn(async move {
            let emitter = SignalEmitter::new(&connection, SYSTEMD)?;
            Self::job_removed(&emitter, 1, ended.into(), &unit, result).await
        });
        Ok(job)
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {}

    fn reload(&self) {}

    async fn load_unit(
        &self,
        name: String,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> fdo::Result<OwnedObjectPath> {
        let hex = |byte: u8| format!("_{byte:02x}");
        let label: String = name.bytes().map(hex).collect();
        let path = OwnedObjectPath::try_from(format!("{SYSTEMD}/unit/{label}"))
            .map_err(|e| fdo::Error::Failed(e.to_string()))?;
        let view = || View(self.0.clone(), name.clone());
        server.at(path.clone(), view()).await?;
        server.at(path.clone(), Service(view())).await?;
        Ok(path)
    }

    async fn list_units_by_names(
        &self,
        names: Vec<String>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> fdo::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for name in names {
            let path = self.load_unit(name.clone(), server).await?;
            let view = View(self.0.clone(), name.clone());
            listed.push((
                name,
                String::new(),
                view.load_state().to_owned(),
                view.active_state().to_owned(),
                view.sub_state().to_owned(),
                String::new(),
                path.clone(),
                0,
                String::new(),
                path,
            ));
        }
        Ok(listed)
    }

    async fn start_unit(
        &self,
        name: String,
        _mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        self.job("start", &name, connection).await
    }

    async fn restart_unit(
        &self,
        name: String,
        _mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        self.job("restart", &name, connection).await
    }

    async fn reload_or_restart_unit(
        &self,
        name: String,
        _mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        self.job("reload", &name, connection).await
    }

    async fn stop_unit(
        &self,
        name: String,
        _mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        self.job("stop", &name, connection).await
    }

    fn reset_failed_unit(&self, _name: String) {}

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// A unit's object.
struct View(Units, String);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl View {
    #[zbus(property)]
    fn load_state(&self) -> &str {
        self.0.get(&self.1).map_or("not-found", |_| "loaded")
    }

    #[zbus(property)]
    fn active_state(&self) -> &str {
        self.0.get(&self.1).map_or("inactive", |unit| unit.active)
    }

    #[zbus(property)]
    fn sub_state(&self) -> &str {
        self.0.get(&self.1).map_or("dead", |unit| unit.sub)
    }
}

/// The same object as a service.
struct Service(View);

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn result(&self) -> &str {
        let View(units, name) = &self.0;
        units.get(name).map_or("success", |unit| unit.result)
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        0
    }

    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> u32 {
        let View(units, name) = &self.0;
        units.get(name).map_or(0, |unit| unit.restarts)
    }
}
