//! The virtual IP: whoever asks by it is without an answer for a moment only, whatever becomes of the
//! machine that holds it, and it is never held by one whose API server is not ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use qemu_tests::Deadline;
use qemu_tests::netns::{Cluster, Net, VIRTUAL_IP};

const DOUBLE: &str = env!("CARGO_BIN_EXE_node-double");
const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

#[test]
fn the_virtual_ip_follows_readiness() -> anyhow::Result<()> {
    let mut cluster = Cluster::sharing("netns-endpoint", DOUBLE, &ALL)?;
    cluster.power_on(&ALL)?;
    cluster.enrol(&ALL)?;
    cluster.bootstrap("cp1", 180)?;
    cluster.until_together(&ALL, 180)?;
    let holder = held(&mut cluster)?;

    let asker = Asker::start();
    cluster.node(&holder)?.kill("kube-apiserver")?;
    let after = moved(&mut cluster, &holder)?;
    asker.end("its API server was killed")?;

    until_ready(&mut cluster)?;
    let asker = Asker::start();
    cluster.cut_power(&after)?;
    let third = moved(&mut cluster, &after)?;
    asker.end("its power was cut")?;

    cluster.power_on(&[&after])?;
    until_ready(&mut cluster)?;
    let asker = Asker::start();
    let at = cluster.at(&third)?;
    cluster.machinectl(&["reboot", "-n", &at], 60)?;
    let last = moved(&mut cluster, &third)?;
    cluster.rebooted(&third, 180)?;
    asker.end("it was told to reboot")?;

    until_ready(&mut cluster)?;
    // Nobody takes it back.
    ensure!(held(&mut cluster)? == last);
    // The agent may go and come: the address stays, and still follows the API server.
    cluster.node(&last)?.kill("machined.service")?;
    cluster.node(&last)?.kill("kube-apiserver")?;
    moved(&mut cluster, &last)?;
    until_ready(&mut cluster)?;
    cluster.done();
    Ok(())
}

/// The one holder.
fn held(cluster: &mut Cluster) -> anyhow::Result<String> {
    let mut holder = String::new();
    cluster.until(60, "one machine to hold the virtual IP", |cluster, _| {
        let holders = cluster.holders()?;
        ensure!(holders.len() == 1, "it is held by {holders:?}");
        holder.clone_from(&holders[0]);
        Ok(())
    })?;
    Ok(holder)
}

fn moved(cluster: &mut Cluster, from: &str) -> anyhow::Result<String> {
    let what = format!("another than {from} to hold the virtual IP");
    let mut holder = String::new();
    cluster.until(60, &what, |cluster, _| {
        let holders = cluster.holders()?;
        ensure!(
            holders.len() == 1 && holders[0] != from,
            "it is held by {holders:?}"
        );
        holder.clone_from(&holders[0]);
        Ok(())
    })?;
    Ok(holder)
}

fn until_ready(cluster: &mut Cluster) -> anyhow::Result<()> {
    cluster.until_together(&ALL, 180)?;
    for name in ALL {
        let at = cluster.at(name)?;
        let settled = ["status", "-n", &at, "--wait", "--timeout", "10h"];
        cluster.machinectl(&settled, 180)?;
    }
    Ok(())
}

/// Asks by the virtual IP again and again, each time on a new connection.
struct Asker {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Found>,
}

#[derive(Default)]
struct Found {
    asked: u32,
    failed: u32,
    longest: Duration,
}

impl Asker {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut found, mut answered) = (Found::default(), Instant::now());
            let limit = Deadline::new(60, "an answer by the virtual IP");
            loop {
                found.asked += 1;
                let answer = answers();
                found.longest = found.longest.max(answered.elapsed());
                if answer {
                    answered = Instant::now();
                } else {
                    found.failed += 1;
                }
                // The last question is one that was answered.
                if told.load(Ordering::Relaxed) && (answer || limit.left().is_err()) {
                    return found;
                }
            }
        });
        Self { stop, thread }
    }

    fn end(self, what: &str) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let found = self.thread.join().ok().context("the asker ended")?;
        eprintln!(
            "when {what}: {} of {} questions failed, the longest time without an answer was {} ms",
            found.failed,
            found.asked,
            found.longest.as_millis()
        );
        ensure!(found.asked > found.failed, "no question was answered");
        Ok(())
    }
}

fn answers() -> bool {
    let [nsenter, seat] = Net::seat();
    let url = format!("https://{VIRTUAL_IP}:6443/readyz");
    let mut command = std::process::Command::new(nsenter);
    command
        .args([
            &seat,
            "curl",
            "--silent",
            "--insecure",
            "--fail",
            "--max-time",
            "0.5",
        ])
        .args(["--output", "/dev/null", &url]);
    command.status().is_ok_and(|status| status.success())
}
