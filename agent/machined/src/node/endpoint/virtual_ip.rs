//! The planner's configuration on keepalived itself, between two machines made of network namespaces.

mod real;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use machine_plan::facts::HostFacts;
use machine_plan::render;

use crate::testing::Scratch;
use crate::testing::space::Space;

/// What a machine that has everything to do may need for something that takes a second.
const LATE: Duration = Duration::from_secs(60);

/// A control plane's keepalived, in a network with its peer's. It ends with this.
struct Machine {
    space: Space,
    unready: PathBuf,
    log: PathBuf,
    shared: IpAddr,
    _scratch: Scratch,
    keepalived: Child,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.keepalived.kill();
        let _ = self.keepalived.wait();
    }
}

impl Machine {
    fn new(space: Space, card: &str, own: IpAddr, peer: IpAddr, shared: IpAddr) -> Self {
        let scratch = Scratch::new();
        let at = |name: &str| scratch.path().join(name);
        let (unready, log) = (at("unready"), at("log"));
        let facts = HostFacts {
            interface: Some(card.to_owned()),
            control_planes: vec![own, peer],
            ..HostFacts::at(own)
        };
        let files = render::keepalived(&config(shared), &facts).expect("it is to hold an address");
        let text = files[0].content.expose();
        let text = text.replace(render::UNREADY_FILE, &unready.display().to_string());
        put(&unready, "1");
        put(&at("keepalived.conf"), &text);
        let word = |flag: &str, name: &str| format!("--{flag}={}", at(name).display());
        let words = [
            "--dont-fork --vrrp --log-console --no-syslog".to_owned(),
            word("use-file", "keepalived.conf"),
            word("pid", "pid"),
            word("vrrp_pid", "vrrp.pid"),
        ];
        let output = std::fs::File::create(&log).unwrap();
        let keepalived = space.run(move || {
            let words = words.iter().flat_map(|words| words.split(' '));
            let mut command = Command::new("keepalived");
            command.args(words).stdin(Stdio::null());
            command.stderr(output.try_clone().unwrap()).stdout(output);
            command.spawn().expect("run keepalived")
        });
        Self {
            space,
            unready,
            log,
            shared,
            _scratch: scratch,
            keepalived,
        }
    }

    /// What the watcher of readiness would say.
    fn is_ready(&self, ready: bool) {
        put(&self.unready, if ready { "0" } else { "1" });
    }

    fn holds(&self) -> bool {
        let shown = self.space.run(|| {
            let mut command = Command::new("ip");
            command.args(["-o", "address", "show"]).output().unwrap()
        });
        String::from_utf8_lossy(&shown.stdout).contains(&format!(" {}/", self.shared))
    }

    /// How often it has said that it knows to be no holder, for now or because it may not.
    fn stood_back(&self) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap().to_lowercase();
        log.matches("entering fault state").count() + log.matches("entering backup state").count()
    }

    /// Whether it hears its peer, and is heard.
    fn hears(&self, whole: bool) {
        let rules = match whole {
            true => "table inet cut\ndelete table inet cut\n",
            false => {
                "table inet cut {\n chain in { type filter hook input priority 0; policy drop; }\n \
                 chain out { type filter hook output priority 0; policy drop; }\n}\n"
            }
        };
        self.space.load(rules).unwrap();
    }
}

// In place, as the watcher does: keepalived hears the end of writing.
fn put(path: &Path, text: &str) {
    use std::io::Write;
    let mut options = std::fs::File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn config(shared: IpAddr) -> machine_config::MachineConfig {
    let (pods, services) = match shared.is_ipv4() {
        true => ("10.244.0.0/16", "10.96.0.0/16"),
        false => ("fd44::/56", "fd96::/112"),
    };
    let text = format!(
        "apiVersion: machined/v1\nkind: MachineConfig\nmachine:\n  role: controlplane\n  hostname: n1\n\
         cluster:\n  name: demo\n  id: 0123456789abcdef\n  controlPlaneEndpoint: api.demo.example\n  \
         virtualIP: {{address: \"{shared}\"}}\n  kubernetesVersion: v1.33.0\n  networking:\n    \
         podSubnet: \"{pods}\"\n    serviceSubnet: \"{services}\"\n"
    );
    let read = machine_config::read(text.as_bytes());
    read.unwrap_or_else(|problems| panic!("{problems}")).config
}
