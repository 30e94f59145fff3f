//! What the manager knows of its units.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const AGENT: &str = "machined.service";
pub(crate) const KUBELET: &str = "kubelet.service";
pub(crate) const FIREWALL: &str = "machined-firewall.service";

/// The units of the image that matter to the agent, and whether they run at boot. One that is only
/// told of its files does nothing here: the harness sets addresses, and nobody sets the host's kernel.
const KNOWN: [(&str, bool); 14] = [
    (AGENT, true),
    (KUBELET, false),
    ("containerd.service", false),
    ("etcd.service", false),
    ("haproxy.service", false),
    ("keepalived.service", false),
    (FIREWALL, false),
    ("machined-readyz.service", false),
    ("systemd-journald.service", true),
    ("systemd-modules-load.service", true),
    ("systemd-networkd.service", true),
    ("systemd-resolved.service", true),
    ("systemd-sysctl.service", true),
    ("systemd-timesyncd.service", true),
];

#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) active: &'static str,
    pub(crate) sub: &'static str,
    pub(crate) result: &'static str,
    pub(crate) restarts: u32,
    pub(crate) pid: Option<Pid>,
}

/// How the node goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    Off,
    Reboot,
}

#[derive(Clone)]
pub(crate) struct Units {
    known: Arc<Mutex<BTreeMap<String, Unit>>>,
    down: Arc<tokio::sync::watch::Sender<Option<Down>>>,
}

impl Units {
    pub(crate) fn new() -> Self {
        let unit = |(name, runs): (&str, bool)| {
            let (active, sub) = match runs {
                true => ("active", "running"),
                false => ("inactive", "dead"),
            };
            let unit = Unit {
                active,
                sub,
                result: "success",
                restarts: 0,
                pid: None,
            };
            (name.to_owned(), unit)
        };
        Self {
            known: Arc::new(Mutex::new(KNOWN.into_iter().map(unit).collect())),
            down: Arc::new(tokio::sync::watch::Sender::new(None)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Unit> {
        self.lock().get(name).cloned()
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Unit)) {
        if let Some(unit) = self.lock().get_mut(name) {
            change(unit);
        }
    }

    pub(crate) fn is_active(&self, name: &str) -> bool {
        self.get(name).is_some_and(|unit| unit.active == "active")
    }

    /// The end of a start, restart or reload.
    pub(crate) fn runs(&self, name: &str) {
        self.change(name, |unit| {
            (unit.active, unit.sub, unit.result) = ("active", "running", "success");
        });
    }

    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        if let Some(pid) = self.get(name).and_then(|unit| unit.pid) {
            // One that has just ended is as the sender wants it.
            let _ = kill_process(pid, signal);
        }
    }

    pub(crate) fn go_down(&self, how: Down) {
        self.down.send_replace(Some(how));
    }

    pub(crate) fn goes_down(&self) -> bool {
        self.down.borrow().is_some()
    }

    /// Returns when the node is told to go down.
    pub(crate) async fn down(&self) -> Down {
        let mut told = self.down.subscribe();
        loop {
            if let Some(how) = *told.borrow_and_update() {
                return how;
            }
            if told.changed().await.is_err() {
                return Down::Off;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Unit>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
