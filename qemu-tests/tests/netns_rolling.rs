//! Every machine is rebooted in turn, by order and under load: etcd never lacks a quorum, and what
//! clients see of it is counted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, ensure};
use qemu_tests::netns::{Cluster, Net};
use qemu_tests::{Deadline, run_quietly};

const DOUBLE: &str = env!("CARGO_BIN_EXE_node-double");
const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

#[test]
fn reboots_in_turn_cost_no_quorum() -> anyhow::Result<()> {
    let mut cluster = Cluster::together("netns-rolling", DOUBLE, &ALL)?;
    for name in ALL {
        let at = cluster.at(name)?;
        let settled = ["status", "-n", &at, "--wait", "--timeout", "10h"];
        cluster.machinectl(&settled, 120)?;
        let load = Load::begin(&cluster.home().join("kubeconfig"))?;
        // A machine may refuse while another one is not back: then it is asked again.
        cluster.until(120, &format!("{name} to accept the order"), |this, _| {
            let reboot = ["reboot", "-n", &at, "--drain-timeout", "20s"];
            this.machinectl(&reboot, 60).map(drop)
        })?;
        cluster.rebooted(name, 180)?;
        cluster.until_together(&ALL, 300)?;
        let (asked, failed) = load.end()?;
        eprintln!("{name} rebooted: {asked} requests, {failed} failed");
        ensure!(asked > 0, "no load");
    }
    cluster.done();
    Ok(())
}

/// Someone who reads by the cluster's endpoint, one request after the other.
struct Load {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    failed: Arc<AtomicU32>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Load {
    fn begin(kubeconfig: &Path) -> anyhow::Result<Self> {
        let (over, asked, failed) = (
            Arc::<AtomicBool>::default(),
            Arc::<AtomicU32>::default(),
            Arc::<AtomicU32>::default(),
        );
        let shared = (Arc::clone(&over), Arc::clone(&asked), Arc::clone(&failed));
        let kubeconfig = kubeconfig.to_owned();
        let thread = std::thread::spawn(move || {
            let (over, asked, failed) = shared;
            let [nsenter, seat] = Net::seat();
            let words = [&seat, "kubectl", "--request-timeout=5s", "get", "--raw"];
            let words = [&words[..], &["/api/v1/namespaces/default"]].concat();
            let env = [("KUBECONFIG", kubeconfig.as_path())];
            let deadline = Deadline::new(1200, "the load");
            while !over.load(Ordering::Relaxed) {
                let ran = run_quietly(Path::new(&nsenter), &words, &env, &deadline)?;
                asked.fetch_add(1, Ordering::Relaxed);
                if ran.code != 0 {
                    eprintln!("failed: {}", ran.stderr.trim());
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        Ok(Self {
            over,
            asked,
            failed,
            thread,
        })
    }

    fn end(self) -> anyhow::Result<(u32, u32)> {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.ok().context("the load panicked")??;
        let number = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        Ok((number(&self.asked), number(&self.failed)))
    }
}
