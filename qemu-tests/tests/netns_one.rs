//! A machine of namespaces becomes a cluster of one, and comes back after a power cut. What this
//! story shows first is that such a machine is one.

use anyhow::ensure;
use qemu_tests::netns::Cluster;

const DOUBLE: &str = env!("CARGO_BIN_EXE_node-double");

#[test]
fn a_machine_becomes_a_cluster_and_stays_one() -> anyhow::Result<()> {
    let mut cluster = Cluster::new("netns-one", DOUBLE, &["cp1"])?;
    cluster.power_on(&["cp1"])?;
    cluster.enrol(&["cp1"])?;
    cluster.bootstrap("cp1", 180)?;
    cluster.until_together(&["cp1"], 60)?;

    cluster.node("cp1")?.kill("machined.service")?;
    cluster.node("cp1")?.console("node: the agent ended", 10)?;
    let at = cluster.at("cp1")?;
    let settled = ["status", "-n", &at, "--wait", "--timeout", "10h"];
    cluster.machinectl(&settled, 120)?;

    cluster.cut_power("cp1")?;
    let gone = cluster.machinectl_ends(&["status", "-n", &at, "--request-timeout", "2s"], 30)?;
    ensure!(gone.code != 0, "it answers without power");
    cluster.power_on(&["cp1"])?;
    cluster
        .node("cp1")?
        .console("cp1 serves the machine API", 60)?;
    cluster.machinectl(&settled, 180)?;
    cluster.until_together(&["cp1"], 60)?;
    cluster.done();
    Ok(())
}
