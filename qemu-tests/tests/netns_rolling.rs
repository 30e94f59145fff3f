//! Every machine is rebooted in turn, by order and under load: etcd never lacks a quorum, and no
//! client sees anything of it. Told all at once, they go one at a time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, ensure};
use qemu_tests::netns::{Cluster, Net};
use qemu_tests::{Deadline, Ran, run_quietly};

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
        // What stops is left before it stops: the API server's clients, and the API server before its etcd.
        ensure!(
            failed == 0,
            "{failed} of {asked} requests failed while {name} rebooted"
        );
    }
    cluster.done();
    Ok(())
}

#[test]
fn told_all_at_once_they_go_one_at_a_time() -> anyhow::Result<()> {
    let mut cluster = Cluster::together("netns-at-once", DOUBLE, &ALL)?;
    let settled = |cluster: &Cluster| -> anyhow::Result<()> {
        for name in ALL {
            let at = cluster.at(name)?;
            let settled = ["status", "-n", &at, "--wait", "--timeout", "10h"];
            cluster.machinectl(&settled, 180)?;
        }
        Ok(())
    };
    settled(&cluster)?;
    let mut left = ALL.to_vec();
    let mut waited = 0;
    while !left.is_empty() {
        let mut goes = Vec::new();
        // The next one goes when the one before is well: until then all that are asked refuse.
        cluster.until(300, "one of them to accept the order", |this, _| {
            let (yes, no): (Vec<_>, Vec<_>) = told(this, &left)?
                .into_iter()
                .partition(|(_, ran)| ran.code == 0);
            waited += no
                .iter()
                .filter(|(_, ran)| ran.stderr.contains("has the turn"))
                .count();
            goes = yes.into_iter().map(|(name, _)| name).collect();
            let why = no
                .iter()
                .map(|(_, ran)| ran.stderr.trim())
                .collect::<Vec<_>>();
            ensure!(!goes.is_empty(), "{}", why.join("; "));
            Ok(())
        })?;
        let [name] = goes[..] else {
            anyhow::bail!("{goes:?} go at once");
        };
        eprintln!("{name} goes first of {left:?}");
        cluster.rebooted(name, 180)?;
        left.retain(|other| *other != name);
    }
    ensure!(
        waited >= 2,
        "{waited} orders were refused for another's turn"
    );
    cluster.until_together(&ALL, 300)?;
    // The last turn is given back: a machine that keeps it is not settled.
    settled(&cluster)?;
    cluster.done();
    Ok(())
}

/// What each of them says to an order to reboot, all told at the same moment.
fn told<'a>(cluster: &Cluster, names: &[&'a str]) -> anyhow::Result<Vec<(&'a str, Ran)>> {
    let machinectl = std::env::var("MACHINECTL").context("MACHINECTL is not set")?;
    let contexts = cluster.home().join("contexts.yaml");
    let mut telling = Vec::new();
    for name in names {
        let (at, machinectl, contexts) = (cluster.at(name)?, machinectl.clone(), contexts.clone());
        let telling_one = std::thread::spawn(move || {
            let [nsenter, seat] = Net::seat();
            let order = ["reboot", "-n", &at, "--drain-timeout", "20s"];
            let words = [&[seat.as_str(), &machinectl], &order[..]].concat();
            let env = [("MACHINECTL_CONFIG", contexts.as_path())];
            let deadline = Deadline::new(60, "an answer to the order");
            run_quietly(Path::new(&nsenter), &words, &env, &deadline)
        });
        telling.push((*name, telling_one));
    }
    let ended = telling.into_iter().map(|(name, telling)| {
        let ran = telling.join().ok().context("the order panicked")?;
        Ok((name, ran?))
    });
    ended.collect()
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
            let words = [&seat, "kubectl", "--request-timeout=30s", "get", "--raw"];
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
