//! A machine is replaced: first its disk, and it joins again as a new member with its old name, the
//! one that began the cluster too; then the machine, by one with another name.

use anyhow::{Context, ensure};
use qemu_tests::Deadline;
use qemu_tests::netns::Cluster;

const DOUBLE: &str = env!("CARGO_BIN_EXE_node-double");
const FIRST: [&str; 3] = ["cp1", "cp2", "cp3"];

#[test]
fn a_machine_is_replaced() -> anyhow::Result<()> {
    let names = ["cp1", "cp2", "cp3", "cp4"];
    let mut cluster = Cluster::new("netns-replace", DOUBLE, &names)?;
    cluster.power_on(&FIRST)?;
    cluster.enrol(&FIRST)?;
    cluster.bootstrap("cp1", 180)?;
    cluster.until_together(&FIRST, 180)?;

    for name in ["cp3", "cp1"] {
        let others: Vec<_> = FIRST.into_iter().filter(|other| *other != name).collect();
        let deadline = Deadline::new(60, format!("{name}'s id"));
        let before = id(&cluster, name, &others, &deadline)?;
        cluster.cut_power(name)?;
        cluster.node(name)?.wipe_disk()?;
        cluster.power_on(&[name])?;
        cluster.enrol(&[name])?;
        cluster.until(
            300,
            &format!("{name} to be another member"),
            |this, deadline| {
                let now = id(this, name, &others, deadline)?;
                ensure!(now != before, "it is {now} still");
                Ok(())
            },
        )?;
        cluster.until_together(&FIRST, 300)?;
    }

    cluster.cut_power("cp2")?;
    // While it might come back, only a person knows that it will not.
    let at = cluster.at("cp1")?;
    let remove = ["etcd", "remove", "cp2", "-n", &at];
    cluster.until(120, "cp2 to be taken out", |this, _| {
        this.machinectl(&remove, 60).map(drop)
    })?;
    cluster.power_on(&["cp4"])?;
    cluster.enrol(&["cp4"])?;
    let deadline = Deadline::new(60, "cp2's node to be deleted");
    cluster.kubectl(&["delete", "node", "cp2"], &deadline)?;
    cluster.until_together(&["cp1", "cp3", "cp4"], 300)?;
    cluster.done();
    Ok(())
}

fn id(cluster: &Cluster, name: &str, at: &[&str], deadline: &Deadline) -> anyhow::Result<String> {
    let members = cluster.members(at, deadline)?;
    let member = members.into_iter().find(|member| member.name == name);
    Ok(member.context("it is no member")?.id)
}
