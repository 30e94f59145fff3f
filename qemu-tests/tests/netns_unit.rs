//! Three control planes whose members of etcd are units: they come together, survive what ends one of them,
//! and one leaves and comes back.

use anyhow::ensure;
use qemu_tests::netns::Cluster;

const DOUBLE: &str = env!("CARGO_BIN_EXE_node-double");
const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

#[test]
fn members_that_are_units_come_together_and_leave_by_order() -> anyhow::Result<()> {
    let as_units = ["--etcd-run-as", "unit"];
    let mut cluster = Cluster::with("netns-unit", DOUBLE, &ALL, &as_units)?;
    cluster.power_on(&ALL)?;
    cluster.enrol(&ALL)?;
    cluster.bootstrap("cp1", 180)?;
    cluster.until_together(&ALL, 180)?;
    for name in ALL {
        let shown = cluster.machinectl(&["services", "-n", &cluster.at(name)?], 30)?;
        let unit = shown.lines().find(|line| line.contains("etcd.service"));
        ensure!(
            unit.is_some_and(|line| line.contains("active") && !line.contains("inactive")),
            "{name}: {shown}"
        );
    }

    cluster.node("cp2")?.kill("etcd.service")?;
    cluster
        .node("cp2")?
        .console("node: etcd.service ended", 10)?;
    cluster.until_together(&ALL, 120)?;
    cluster.cut_power("cp3")?;
    cluster.power_on(&["cp3"])?;
    cluster.until_together(&ALL, 180)?;

    let at = cluster.at("cp3")?;
    cluster.machinectl(&["etcd", "leave", "-n", &at], 60)?;
    cluster.until(180, "cp3 to be out, and stopped", |this, deadline| {
        let members = this.members(&["cp1", "cp2"], deadline)?;
        ensure!(members.len() == 2, "etcd has {members:?}");
        let shown = this.machinectl(&["services", "-n", &at], 30)?;
        let unit = shown.lines().find(|line| line.contains("etcd.service"));
        ensure!(
            unit.is_some_and(|line| line.contains("inactive")),
            "{shown}"
        );
        Ok(())
    })?;
    cluster.machinectl(&["etcd", "join", "-n", &at], 60)?;
    cluster.until_together(&ALL, 180)?;
    cluster.done();
    Ok(())
}
