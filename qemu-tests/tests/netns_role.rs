//! Three machines of role `etcd` and two control planes: etcd begins on one of them, the others join, and
//! the API serves from it. One is lost with its disk and joins anew; one leaves and comes back; two are told to
//! reboot and go one after the other; all lose their power at once.

use anyhow::{Context, ensure};
use qemu_tests::Deadline;
use qemu_tests::netns::Cluster;

const DOUBLE: &str = env!("CARGO_BIN_EXE_node-double");
const ETCD: [&str; 3] = ["etcd1", "etcd2", "etcd3"];
const SERVING: [&str; 2] = ["cp1", "cp2"];
const ALL: [&str; 5] = ["etcd1", "etcd2", "etcd3", "cp1", "cp2"];

#[test]
fn control_planes_serve_from_etcd_on_machines_of_its_own() -> anyhow::Result<()> {
    let mut cluster = Cluster::apart("netns-role", DOUBLE, &ETCD, &SERVING)?;
    cluster.power_on(&ALL)?;
    cluster.enrol(&ALL)?;
    begins(&mut cluster)?;
    for name in ETCD {
        has_nothing_of_kubernetes(&cluster, name)?;
    }

    let before = id(&cluster, "etcd1", &["etcd2", "etcd3"])?;
    cluster.cut_power("etcd1")?;
    until_served(&mut cluster, 60)?;
    cluster.node("etcd1")?.wipe_disk()?;
    cluster.power_on(&["etcd1"])?;
    cluster.enrol(&["etcd1"])?;
    cluster.until(180, "etcd1 to be another member", |this, _| {
        let now = id(this, "etcd1", &["etcd2", "etcd3"])?;
        ensure!(now != before, "it is {now} still");
        Ok(())
    })?;
    cluster.until_voters(&ETCD, 180)?;
    until_served(&mut cluster, 60)?;

    cluster.node("etcd2")?.kill("etcd.service")?;
    cluster.node("etcd2")?.kill("machined.service")?;
    cluster.until_voters(&ETCD, 120)?;

    let at = cluster.at("etcd3")?;
    cluster.machinectl(&["etcd", "leave", "-n", &at], 60)?;
    cluster.until_voters(&["etcd1", "etcd2"], 120)?;
    cluster.machinectl(&["etcd", "join", "-n", &at], 60)?;
    cluster.until_voters(&ETCD, 180)?;

    one_at_a_time(&mut cluster)?;

    let file = cluster.home().join("etcd.snapshot").display().to_string();
    let first = cluster.at("etcd1")?;
    cluster.machinectl(&["etcd", "snapshot", &file, "-n", &first], 60)?;
    for name in ALL {
        cluster.cut_power(name)?;
    }
    cluster.power_on(&ALL)?;
    cluster.until_voters(&ETCD, 180)?;
    until_served(&mut cluster, 180)?;
    settled(&cluster, &ALL)?;
    let all: Vec<_> = ALL
        .iter()
        .map(|name| cluster.at(name))
        .collect::<Result<_, _>>()?;
    let health = cluster.machinectl_ends(&["health", "-n", &all.join(",")], 60)?;
    ensure!(
        !health.stdout.contains("Kubernetes does not say"),
        "{}",
        health.stdout
    );
    cluster.done();
    Ok(())
}

fn settled(cluster: &Cluster, names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        let at = cluster.at(name)?;
        cluster.machinectl(&["status", "-n", &at, "--wait", "--timeout", "10h"], 180)?;
    }
    Ok(())
}

/// A machine that is told to reboot has its turn, and another one is refused until it is well again.
fn one_at_a_time(cluster: &mut Cluster) -> anyhow::Result<()> {
    settled(cluster, &ETCD)?;
    let (second, third) = (cluster.at("etcd2")?, cluster.at("etcd3")?);
    cluster.machinectl(&["reboot", "-n", &second], 60)?;
    let refused = cluster.machinectl_ends(&["reboot", "-n", &third], 60)?;
    let why = &refused.stderr;
    let told = why.contains("has the turn") || why.contains("voters would answer");
    ensure!(refused.code != 0 && told, "{why}");
    cluster.rebooted("etcd2", 120)?;
    until_served(cluster, 60)?;
    cluster.until(180, "etcd3 to accept the order", |this, _| {
        this.machinectl(&["reboot", "-n", &third], 60).map(drop)
    })?;
    cluster.rebooted("etcd3", 120)?;
    cluster.until_voters(&ETCD, 180)?;
    settled(cluster, &ETCD)
}

/// First etcd, then the API. What is ordered too early waits, and what would make a second cluster is
/// refused.
fn begins(cluster: &mut Cluster) -> anyhow::Result<()> {
    let (first, second, cp) = (
        cluster.at("etcd1")?,
        cluster.at("etcd2")?,
        cluster.at("cp1")?,
    );
    cluster.machinectl(&["bootstrap", "-n", &cp], 60)?;
    cluster.until(60, "cp1 to wait for etcd", |this, deadline| {
        let ran = this.ask(&["status", "-n", &cp], deadline)?;
        let waits = ran
            .stdout
            .contains("no member of etcd listens at 192.0.2.11");
        ensure!(waits, "{}", ran.stdout);
        Ok(())
    })?;
    let order = ["bootstrap", "-n", &first, "--wait", "--timeout", "10h"];
    cluster.machinectl(&order, 180)?;
    let again = cluster.machinectl_ends(&["bootstrap", "-n", &second], 60)?;
    ensure!(again.code != 0, "a second cluster was begun");
    cluster.until_voters(&ETCD, 180)?;
    settled(cluster, &SERVING)?;
    cluster.take_kubeconfig("cp2")?;
    until_served(cluster, 60)?;

    let refused = cluster.machinectl_ends(&["etcd", "members", "-n", &cp], 30)?;
    let told = refused
        .stderr
        .contains("192.0.2.11, 192.0.2.12, 192.0.2.13");
    ensure!(refused.code != 0 && told, "{}", refused.stderr);
    let nodes = cluster.ready(&Deadline::new(30, "the nodes"))?;
    ensure!(nodes == SERVING, "Ready are {nodes:?}");
    Ok(())
}

fn until_served(cluster: &mut Cluster, seconds: u64) -> anyhow::Result<()> {
    cluster.until(seconds, "the API to answer", |this, deadline| {
        let ran = this.kubectl(&["get", "--raw", "/readyz"], deadline)?;
        ensure!(ran.code == 0 && ran.stdout.contains("ok"), "{}", ran.stderr);
        Ok(())
    })
}

fn has_nothing_of_kubernetes(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let shown = cluster.machinectl(&["services", "-n", &cluster.at(name)?], 30)?;
    let unit = |unit: &str| shown.lines().find(|line| line.contains(unit));
    let runs = |line: &&str| line.contains("active") && !line.contains("inactive");
    ensure!(unit("etcd.service").filter(runs).is_some(), "{shown}");
    ensure!(unit("kubelet.service").filter(runs).is_none(), "{shown}");
    ensure!(unit("containerd.service").filter(runs).is_none(), "{shown}");
    Ok(())
}

fn id(cluster: &Cluster, name: &str, at: &[&str]) -> anyhow::Result<String> {
    let deadline = Deadline::new(60, format!("{name}'s id"));
    let members = cluster.members(at, &deadline)?;
    let member = members.into_iter().find(|member| member.name == name);
    Ok(member.context("it is no member")?.id)
}
