//! Who leads etcd is cut off and comes back. At no time do two take writes, and in the end everyone
//! has what was taken.

use anyhow::{Context, ensure};
use qemu_tests::Deadline;
use qemu_tests::netns::{Cluster, Voice};

const DOUBLE: &str = env!("CARGO_BIN_EXE_node-double");
const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];
const KEY: &str = "/story/partition";

/// How often the cut off one is asked to take a write once the others have a leader.
const TRIES: u32 = 3;

#[test]
fn a_leader_that_is_cut_off_takes_no_writes() -> anyhow::Result<()> {
    let mut cluster = Cluster::together("netns-partition", DOUBLE, &ALL)?;
    let deadline = Deadline::new(60, "who leads");
    let members = cluster.members(&ALL, &deadline)?;
    let leader = members.iter().find(|m| m.leader).context("nobody leads")?;
    let leader = leader.name.clone();
    let others: Vec<_> = ALL.into_iter().filter(|name| *name != leader).collect();
    let deadline = Deadline::new(60, "a write before");
    ensure!(put(&mut cluster, &leader, "before", &deadline)?, "refused");
    let before = Voice(cluster.node(&leader)?).status(&deadline)?;

    cluster.cable(&leader, false)?;
    // From its first breath on: it leads still, and nobody is there to agree.
    let deadline = Deadline::new(120, "the cut off one's refusal");
    ensure!(!put(&mut cluster, &leader, "alone", &deadline)?, "taken");
    cluster.until(60, "the others to have a leader", |this, deadline| {
        for name in &others {
            let now = Voice(this.node(name)?).status(deadline)?;
            ensure!(now.leader != 0 && now.leader != before.leader, "{now:?}");
            ensure!(now.term > before.term, "{now:?}");
        }
        Ok(())
    })?;
    for turn in 0..TRIES {
        let deadline = Deadline::new(120, "writes on both sides");
        let value = format!("turn {turn}");
        ensure!(put(&mut cluster, others[0], &value, &deadline)?, "refused");
        ensure!(!put(&mut cluster, &leader, "alone", &deadline)?, "taken");
    }
    // The cluster goes on: the endpoint leads to those that are there.
    let deadline = Deadline::new(60, "the API by the others");
    let ran = cluster.kubectl(&["create", "namespace", "while-cut"], &deadline)?;
    ensure!(ran.code == 0, "{}", ran.stderr);

    cluster.cable(&leader, true)?;
    let last = format!("turn {}", TRIES - 1);
    cluster.until(
        120,
        "everyone to follow one and have the same",
        |this, deadline| {
            let mut seen = Vec::new();
            for name in ALL {
                let voice = Voice(this.node(name)?);
                let status = voice.status(deadline)?;
                let has = voice.get(KEY, deadline)?;
                ensure!(has == last, "{name} has {has:?}");
                seen.push((status.leader, status.term));
            }
            seen.dedup();
            ensure!(seen.len() == 1 && seen[0].0 != 0, "{seen:?}");
            Ok(())
        },
    )?;
    cluster.until_together(&ALL, 180)?;
    for name in ALL {
        let at = cluster.at(name)?;
        let settled = ["status", "-n", &at, "--wait", "--timeout", "10h"];
        cluster.machinectl(&settled, 180)?;
    }
    cluster.done();
    Ok(())
}

fn put(
    cluster: &mut Cluster,
    name: &str,
    value: &str,
    deadline: &Deadline,
) -> anyhow::Result<bool> {
    Voice(cluster.node(name)?).put(KEY, value, deadline)
}
