//! The API's endpoint when what holds it fails: our virtual IP, against what kubeadm's guide says.
//! Both stand before the same three API servers and suffer in turn.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use qemu_tests::netns::{Cluster, VIRTUAL_IP};

use crate::client::Client;
use crate::guide;
use crate::load::{Load, Seen};
use crate::settings::Settings;
use crate::table::Table;

const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

/// Between the end of one fault and the next: the checks of both have found all servers.
const CALM: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Guide,
}

#[derive(Clone, Copy)]
enum Fault {
    PowerCut,
    Killed,
    Frozen,
    Reboot,
}

const FAULTS: [(Fault, &str); 4] = [
    (Fault::PowerCut, "the holder's power is cut"),
    (Fault::Killed, "the holder's API server is killed"),
    (Fault::Frozen, "the holder's API server hangs"),
    (Fault::Reboot, "the holder is told to reboot"),
];

/// Each fault so many times on each side.
pub fn compare(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let mut cluster = Cluster::sharing("bench-endpoint", &settings.double, &ALL)?;
    // Machines of ours let in nothing that they have no use for.
    cluster.admit("guide", guide::PORT)?;
    cluster.power_on(&ALL)?;
    cluster.enrol(&ALL)?;
    cluster.bootstrap("cp1", 180)?;
    for name in ALL {
        guide::start(&mut cluster, name, &ALL)?;
    }
    let client = Client::of_kubeconfig(&cluster.home().join("kubeconfig"))?;
    let mut found: [[Vec<Seen>; 2]; 4] = Default::default();
    let mut outcome = Ok(());
    'all: for round in 1..=settings.faults {
        for (place, (fault, name)) in FAULTS.into_iter().enumerate() {
            for (column, side) in [Side::Ours, Side::Guide].into_iter().enumerate() {
                match suffer(&mut cluster, &client, fault, side) {
                    Ok(seen) => {
                        let whose = if side == Side::Ours {
                            "ours"
                        } else {
                            "the guide's"
                        };
                        eprintln!(
                            "bench: round {round}: {name}: {whose}: {:.2} s without an answer, {} of {} failed",
                            seen.gap, seen.failed, seen.asked
                        );
                        found[place][column].push(seen);
                    }
                    Err(error) => {
                        outcome = Err(error.context(format!("round {round}: {name}")));
                        break 'all;
                    }
                }
            }
        }
    }
    rows(&found, table);
    outcome?;
    cluster.done();
    Ok(())
}

fn rows(found: &[[Vec<Seen>; 2]; 4], table: &mut Table) {
    let each = |place: usize, of: fn(&Seen) -> f64| {
        [0, 1].map(|side| found[place][side].iter().map(of).collect::<Vec<_>>())
    };
    for (place, (fault, name)) in FAULTS.into_iter().enumerate() {
        let [ours, peer] = each(place, |seen| seen.gap);
        let [failed, peers_failed] = each(place, failed);
        if matches!(fault, Fault::Reboot) {
            let figure = format!("endpoint, {name}: requests failed");
            table.worst(&figure, "", &failed, &peers_failed, 0.0);
            table.beside(&format!("endpoint, {name}: gap"), "s", &ours, &peer);
        } else {
            table.worst(&format!("endpoint, {name}: gap"), "s", &ours, &peer, 1.0);
            let figure = format!("endpoint, {name}: requests failed");
            table.beside(&figure, "", &failed, &peers_failed);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn failed(seen: &Seen) -> f64 {
    seen.failed as f64
}

/// One fault of whoever holds a side's address, and the machine healed again.
fn suffer(
    cluster: &mut Cluster,
    client: &Client,
    fault: Fault,
    side: Side,
) -> anyhow::Result<Seen> {
    let holder = calm(cluster, side)?;
    let (address, port) = at(side);
    let to = SocketAddr::new(address.parse()?, port);
    // In a reboot nobody hurries; else a question is lost after a second.
    let patience = match fault {
        Fault::Reboot => 5,
        _ => 1,
    };
    let load = Load::begin(client, to, Duration::from_secs(patience));
    let window = |seconds| std::thread::sleep(Duration::from_secs(seconds));
    window(2);
    let seen = match fault {
        Fault::PowerCut => {
            cluster.cut_power(&holder)?;
            window(15);
            let seen = load.end()?;
            cluster.power_on(&[&holder])?;
            guide::start(cluster, &holder, &ALL)?;
            seen
        }
        Fault::Killed => {
            cluster.node(&holder)?.kill("kube-apiserver")?;
            window(15);
            load.end()?
        }
        Fault::Frozen => {
            cluster.node(&holder)?.freeze("kube-apiserver")?;
            window(40);
            let seen = load.end()?;
            cluster.node(&holder)?.thaw("kube-apiserver")?;
            seen
        }
        Fault::Reboot => {
            let node = cluster.at(&holder)?;
            let words = ["reboot", "-n", &node, "--drain-timeout", "20s"];
            cluster.machinectl(&words, 60)?;
            cluster.rebooted(&holder, 180)?;
            guide::start(cluster, &holder, &ALL)?;
            cluster.until_together(&ALL, 300)?;
            window(CALM.as_secs());
            load.end()?
        }
    };
    Ok(seen)
}

fn at(side: Side) -> (&'static str, u16) {
    match side {
        Side::Ours => (VIRTUAL_IP, 6443),
        Side::Guide => (guide::ADDRESS, guide::PORT),
    }
}

/// All is well again; says who holds the side's address.
fn calm(cluster: &mut Cluster, side: Side) -> anyhow::Result<String> {
    cluster.until_together(&ALL, 300)?;
    for name in ALL {
        let node = cluster.at(name)?;
        let settled = ["status", "-n", &node, "--wait", "--timeout", "10h"];
        cluster.machinectl(&settled, 180)?;
    }
    std::thread::sleep(CALM);
    let mut holder = String::new();
    cluster.until(60, "one machine to hold each address", |cluster, _| {
        for of in [Side::Ours, Side::Guide] {
            let holders = cluster.holders_of(at(of).0)?;
            ensure!(holders.len() == 1, "{} is held by {holders:?}", at(of).0);
            if of == side {
                holder.clone_from(&holders[0]);
            }
        }
        Ok(())
    })?;
    Ok(holder)
}
