//! systemd itself, as a user manager of its own: in its own mount namespace and
//! its own control group, without the host's units, and with a bus of its own.
//! Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::net::UnixDatagram;
use zbus::Connection;
use zbus_systemd::systemd1::ManagerProxy;

use super::bench::Behaviour;
use crate::testing::{Process, Scratch, within};

const SYSTEMD: &str = "/lib/systemd/systemd";
const BUS: &str = "/usr/bin/dbus-daemon";

/// A bus that systemd starts and then serves its objects on, as on a node.
/// Without a bus it would name itself as a sender in a way that zbus refuses.
const UNITS: [(&str, &str); 3] = [
    ("first.target", "[Unit]\nWants=dbus.service\n"),
    (
        "dbus.socket",
        "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=%t/bus\n",
    ),
    (
        "dbus.service",
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\n\
         ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile\n",
    ),
];

// systemd only runs where systemd runs, which it takes from a folder in /run.
// A process namespace of its own would be neater, but across one a socket does
// not say who its peer is, and systemd then lets nobody in.
const INIT: &str = r#"
set -eu
for group in "$@"; do echo 0 >"$group/cgroup.procs"; done
mount -t tmpfs none /run
mkdir -p /run/systemd/system
exec "$SYSTEMD" --user --unit=first.target --log-target=console
"#;

const START: Duration = Duration::from_secs(60);

pub(super) struct Private {
    process: Process,
    connection: Connection,
    groups: Vec<PathBuf>,
    scratch: Scratch,
}

impl Private {
    pub(super) async fn start() -> (Self, Connection) {
        for program in [SYSTEMD, BUS] {
            let there = Path::new(program).exists();
            assert!(there, "{program} is missing: .ci/setup installs it");
        }
        let scratch = Scratch::new();
        let folder = scratch.path().to_owned();
        std::fs::create_dir(folder.join("units")).unwrap();
        for (name, text) in UNITS {
            std::fs::write(folder.join("units").join(name), text).unwrap();
        }
        let notified = UnixDatagram::bind(folder.join("notify")).unwrap();
        let groups = control_groups();
        let process = Process::start(
            Command::new("unshare")
                .args(["--mount", "sh", "-c", INIT, "sh"])
                .args(&groups)
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("SYSTEMD", SYSTEMD)
                .env("HOME", &folder)
                .env("XDG_RUNTIME_DIR", &folder)
                .env("SYSTEMD_UNIT_PATH", folder.join("units"))
                .env("NOTIFY_SOCKET", folder.join("notify")),
            folder.join("systemd.log"),
        );
        let log = folder.join("systemd.log");
        let what = format!("systemd, see {}", log.display());
        within(START, &what, ready(&notified)).await;
        let address = format!("unix:path={}", folder.join("bus").display());
        // The test's hand has a connection of its own.
        let mine = connect(&address).await;
        within(START, &what, served(&mine)).await;
        let private = Self {
            process,
            connection: mine,
            groups,
            scratch,
        };
        (private, connect(&address).await)
    }

    pub(super) fn write(&self, name: &str, behaviour: Behaviour) {
        let sleep = "ExecStart=/bin/sleep infinity";
        let (unit, service) = match behaviour {
            Behaviour::Works => (
                String::new(),
                format!("Type=exec\n{sleep}\nExecReload=/bin/true"),
            ),
            Behaviour::Fails => (
                String::new(),
                "Type=oneshot\nExecStart=/bin/false".to_owned(),
            ),
            Behaviour::Needs(other) => {
                (format!("Requires={other}\nAfter={other}"), sleep.to_owned())
            }
            Behaviour::IsGivenUp => (
                "JobRunningTimeoutSec=1".to_owned(),
                format!("Type=oneshot\n{sleep}"),
            ),
            Behaviour::NeverStarts => (String::new(), format!("Type=oneshot\n{sleep}")),
        };
        let text = format!("[Unit]\nDefaultDependencies=no\n{unit}\n[Service]\n{service}\n");
        self.put(name, &text);
    }

    /// A unit's file as it is.
    pub(super) fn put(&self, name: &str, text: &str) {
        std::fs::write(self.scratch.path().join("units").join(name), text).unwrap();
    }

    pub(super) async fn crash(&self, unit: &str) {
        let manager = ManagerProxy::new(&self.connection).await.unwrap();
        let (unit, whom) = (unit.to_owned(), "all".to_owned());
        manager.kill_unit(unit, whom, 9).await.unwrap();
    }

    pub(super) fn die(&mut self) {
        self.process.kill();
        for group in &self.groups {
            remove(group);
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.process.kill();
        // A killed process leaves its group a moment later.
        let begun = Instant::now();
        for group in &self.groups {
            while !remove(group) && begun.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
        }
    }
}

async fn connect(address: &str) -> Connection {
    let builder = zbus::connection::Builder::address(address);
    builder.build().await.unwrap()
}

async fn ready(notified: &UnixDatagram) {
    let mut message = [0; 4096];
    loop {
        let length = notified.recv(&mut message).await.unwrap();
        if message[..length].starts_with(b"READY=1") {
            return;
        }
    }
}

// It comes to the bus a little after the bus runs.
async fn served(connection: &Connection) {
    let bus = zbus::fdo::DBusProxy::new(connection).await.unwrap();
    let mut changes = bus.receive_name_owner_changed().await.unwrap();
    let name = || "org.freedesktop.systemd1".try_into().unwrap();
    while !bus.name_has_owner(name()).await.unwrap() {
        changes.next().await.unwrap();
    }
}

// A child of each group this process is in, where systemd keeps its own: else it
// would rearrange those of whoever runs the tests.
fn control_groups() -> Vec<PathBuf> {
    let mine = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let root = Path::new("/sys/fs/cgroup");
    let place = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (kind, path) = rest.split_once(':')?;
        let mount = match kind {
            "" if root.join("unified").exists() => root.join("unified"),
            "" => root.to_owned(),
            "name=systemd" => root.join("systemd"),
            _ => return None,
        };
        let name = format!("machined-test-{}", std::process::id());
        Some(mount.join(path.trim_start_matches('/')).join(name))
    };
    let groups: Vec<_> = mine.lines().filter_map(place).collect();
    for group in &groups {
        std::fs::create_dir(group).unwrap_or_else(|e| panic!("{}: {e}", group.display()));
    }
    groups
}

/// Ends what is left in a group and removes it; says whether it is gone.
fn remove(group: &Path) -> bool {
    let below = std::fs::read_dir(group).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.path().is_dir()) {
        remove(&entry.path());
    }
    let left = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for process in left.lines().filter_map(|id| id.parse().ok()) {
        if let Some(process) = rustix::process::Pid::from_raw(process) {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    }
    let _ = std::fs::remove_dir(group);
    !group.exists()
}
