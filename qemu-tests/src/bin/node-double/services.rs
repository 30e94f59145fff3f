//! Units that are real programs here: etcd, the load balancer, and who holds the virtual IP with its watcher.
//! Started again when they end, as their unit files say.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::units::Units;

/// The units' RestartSec.
const AGAIN: Duration = Duration::from_secs(1);

struct Service {
    unit: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    environment: Option<&'static str>,
    folder: &'static str,
    reload: Signal,
    /// Starts and ends with this one.
    beside: Option<&'static str>,
}

/// Stands for all words of the variable of that name.
const ARGUMENTS: &str = "$ARGUMENTS";

const SERVICES: [Service; 4] = [
    Service {
        unit: "etcd.service",
        program: "/usr/bin/etcd",
        arguments: &[ARGUMENTS],
        environment: Some("/etc/etcd/etcd.env"),
        folder: "/var/lib/etcd",
        reload: Signal::TERM,
        beside: None,
    },
    Service {
        unit: "haproxy.service",
        program: "/usr/sbin/haproxy",
        arguments: &["-W", "-f", "/etc/haproxy/haproxy.cfg"],
        environment: None,
        folder: "/run/haproxy",
        reload: Signal::USR2,
        beside: None,
    },
    Service {
        unit: "machined-readyz.service",
        program: "/opt/machined",
        arguments: &["readyz"],
        environment: Some("/etc/keepalived/readyz.env"),
        folder: "/run/machined-readyz",
        reload: Signal::TERM,
        beside: None,
    },
    Service {
        unit: "keepalived.service",
        program: "/usr/sbin/keepalived",
        arguments: &[
            "--dont-fork",
            "--vrrp",
            "--log-console",
            "--use-file=/etc/keepalived/keepalived.conf",
            "--pid=/run/keepalived/keepalived.pid",
            "--vrrp_pid=/run/keepalived/vrrp.pid",
        ],
        environment: None,
        folder: "/run/keepalived",
        reload: Signal::HUP,
        beside: Some("machined-readyz.service"),
    },
];

/// Those that were started, and how to end them.
#[derive(Clone)]
pub(crate) struct Services {
    units: Units,
    running: Arc<Mutex<BTreeMap<&'static str, watch::Sender<bool>>>>,
}

impl Services {
    pub(crate) fn new(units: Units) -> Self {
        Self {
            units,
            running: Arc::default(),
        }
    }

    /// Carries a job out; `false`: it is none of these.
    pub(crate) fn job(&self, operation: &str, unit: &str) -> bool {
        let Some(service) = SERVICES.iter().find(|service| service.unit == unit) else {
            return false;
        };
        if let Some(beside) = service.beside.filter(|_| operation != "reload") {
            self.job(operation, beside);
        }
        let runs = self.units.get(unit).is_some_and(|unit| unit.pid.is_some());
        match operation {
            "reload" if runs => self.units.signal(unit, service.reload),
            "start" if runs => {}
            "stop" => self.stop(service),
            _ => {
                self.stop(service);
                self.start(service);
            }
        }
        true
    }

    fn stop(&self, service: &'static Service) {
        let running = self.lock().remove(service.unit);
        if let Some(stop) = running {
            stop.send_replace(true);
            self.units.signal(service.unit, Signal::TERM);
        }
        self.units.change(service.unit, |unit| {
            (unit.active, unit.sub, unit.pid) = ("inactive", "dead", None);
        });
    }

    fn start(&self, service: &'static Service) {
        let (stop, told) = watch::channel(false);
        self.lock().insert(service.unit, stop);
        let units = self.units.clone();
        units.runs(service.unit);
        tokio::spawn(async move {
            while !*told.borrow() {
                if let Err(error) = once(service, &units, &told).await {
                    println!("node: {}: {error:#}", service.unit);
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, watch::Sender<bool>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn once(
    service: &Service,
    units: &Units,
    told: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut child = spawn(service)?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    // Told to end between its start and now: it is not anybody's.
    if *told.borrow() {
        child.kill().await?;
        return Ok(());
    }
    units.change(service.unit, |unit| unit.pid = pid);
    units.runs(service.unit);
    let ended = child.wait().await?;
    if !*told.borrow() {
        println!("node: {} ended: {ended}", service.unit);
        units.change(service.unit, |unit| {
            (unit.active, unit.sub, unit.pid) = ("activating", "auto-restart", None);
            unit.restarts += 1;
        });
    }
    Ok(())
}

fn spawn(service: &Service) -> anyhow::Result<Child> {
    std::fs::create_dir_all(service.folder)?;
    let log = format!("/var/log/{}.log", service.unit);
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(service.program);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    if let Some(path) = service.environment {
        let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let pairs = pairs.map(|(name, value)| (name, value.trim_matches('"')));
        for (name, value) in pairs {
            match service.arguments {
                [ARGUMENTS] if name == "ARGUMENTS" => drop(command.args(value.split(' '))),
                _ => drop(command.env(name, value)),
            }
        }
    }
    let words = service.arguments.iter().filter(|word| **word != ARGUMENTS);
    command.args(words);
    command
        .spawn()
        .with_context(|| format!("start {}", service.program))
}
