//! A machine of role `etcd`, booted: its member is a unit with systemd's own sandbox around it, goes on after
//! a power cut as who it was, and lives again on an empty disk from a snapshot.

use std::path::Path;

use anyhow::{Context, ensure};
use qemu_tests::{
    Image, Machine, Spec, Workshop, enrolment, gen_config, machinectl, machinectl_fails,
};

#[test]
fn an_etcd_machine_serves_stays_and_is_made_again() -> anyhow::Result<()> {
    let (image, shop) = (Image::from_env()?, Workshop::new("etcd-machine")?);
    let home = shop.path();
    let words = "--name demo --endpoint 10.0.2.15:6443 --control-planes cp1 \
                 --etcd-nodes e1=10.0.2.15 --cert-sans 127.0.0.1 --node-subnets 10.0.2.0/24";
    let words: Vec<_> = words.split_whitespace().collect();
    let demo = gen_config(home, "demo", &words)?;
    let config = demo.join("e1.yaml").display().to_string();
    let bundle = enrolment(home, &demo, "e1")?;
    let spec = |disk: &str| Spec {
        name: disk.to_owned(),
        credentials: vec![("machined.enrolment".into(), bundle.clone())],
        ..Spec::default()
    };

    let first = spec("e1");
    let machine = Machine::boot(&image, &shop, &first)?;
    let node = enrol(home, &machine, &config)?;
    machinectl(home, &["bootstrap", "-n", &node], 60)?;
    settled(home, &node)?;
    let member = member(home, &node)?;
    let services = machinectl(home, &["services", "-n", &node], 60)?;
    let runs = |line: &str| line.contains("etcd.service") && line.contains(" active (running)");
    ensure!(services.lines().any(runs), "{services}");
    for idle in ["kubelet.service", "containerd.service"] {
        let off = |line: &str| line.contains(idle) && line.contains(" inactive ");
        ensure!(services.lines().any(off), "{idle} is not off: {services}");
    }
    let health = machinectl(home, &["etcd", "health", "-n", &node], 60)?;
    ensure!(!health.contains("CAUSE"), "{health}");
    let snapshot = home.join("etcd.db").display().to_string();
    machinectl(home, &["etcd", "snapshot", &snapshot, "-n", &node], 120)?;
    let refused = machinectl_fails(home, &["etcd", "recover", "--from-data", "-n", &node], 60)?;
    ensure!(refused.stderr.contains("quorum"), "{}", refused.stderr);

    machine.cut_power();
    let machine = Machine::boot(&image, &shop, &first)?;
    machine.console("e1 serves the machine API", 120)?;
    let node = format!("e1={}", machine.api);
    settled(home, &node)?;
    let after = self::member(home, &node)?;
    ensure!(after == member, "{member} is {after}");

    // Its disk is gone, and with it all that there was of this cluster.
    machine.cut_power();
    let machine = Machine::boot(&image, &shop, &spec("e1-anew"))?;
    let node = enrol(home, &machine, &config)?;
    let recover = ["etcd", "recover", "--from", &snapshot, "-n", &node];
    machinectl(home, &recover, 120)?;
    settled(home, &node)?;
    let recovered = self::member(home, &node)?;
    ensure!(recovered != member, "a copy is a cluster of its own");
    shop.done();
    Ok(())
}

fn enrol(home: &Path, machine: &Machine, config: &str) -> anyhow::Result<String> {
    machine.console("machined: maintenance", 120)?;
    let node = format!("e1={}", machine.api);
    machinectl(home, &["apply-config", "-n", &node, "-f", config], 60)?;
    machine.console("e1 serves the machine API, generation 1", 120)?;
    Ok(node)
}

fn settled(home: &Path, node: &str) -> anyhow::Result<()> {
    let settled = ["status", "-n", node, "--wait", "--timeout", "10h"];
    machinectl(home, &settled, 400).map(drop)
}

/// The id of the only member.
fn member(home: &Path, node: &str) -> anyhow::Result<String> {
    let members = machinectl(home, &["etcd", "members", "-n", node], 60)?;
    let rows: Vec<Vec<_>> = members
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    ensure!(rows.len() == 1, "not one member: {members}");
    let id = rows[0].get(1).filter(|_| rows[0][0] == "e1");
    Ok((*id.context("no e1")?).to_owned())
}
