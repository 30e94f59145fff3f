//! An ear for what nobody tells: room on disks, and etcd's health. It wakes the
//! loop when either changes, and never acts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use machine_plan::observed::Probe;
use machine_plan::render::ETCD_ARGUMENTS;

use crate::conditions::short_of;
use crate::node::{etcd, room};
use crate::reconcile::Wake;

/// Two system calls and one question on loopback each time.
const EVERY: Duration = Duration::from_secs(10);

/// What etcd is started from: without it nothing is asked.
const ETCD: [&str; 2] = ["/etc/kubernetes/manifests/etcd.yaml", ETCD_ARGUMENTS];

#[derive(Default, PartialEq)]
struct Heard {
    full: BTreeSet<String>,
    etcd: bool,
}

/// Listens for as long as the task lives.
pub async fn listen(wake: Wake) {
    let mut before = Heard::default();
    loop {
        let now = hear(&before).await;
        if now != before {
            wake.wake();
        }
        before = now;
        tokio::time::sleep(EVERY).await;
    }
}

async fn hear(before: &Heard) -> Heard {
    let full = room::look().into_iter().filter_map(|(place, probe)| {
        let was = before.full.contains(&place);
        let short = probe.seen().and_then(|room| short_of(room, was));
        short.map(|_| place)
    });
    let full = full.collect();
    if !ETCD.iter().any(|path| Path::new(path).exists()) {
        return Heard { full, etcd: false };
    }
    // It serves one of the two, by the node's own address.
    let mut etcd = false;
    for ip in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        etcd = etcd || etcd::ask(etcd::loopback(ip)).await == Probe::Seen(());
    }
    Heard { full, etcd }
}
