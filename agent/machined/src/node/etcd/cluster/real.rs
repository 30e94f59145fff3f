//! Three machines become members of one etcd while their agents and members are killed; then one
//! loses its disk.

mod machines;
mod matrix;
mod moves;
mod recover;
mod turns;

use std::collections::BTreeSet;
use std::process::Command;

use futures_util::StreamExt;
use rand::RngExt;

use crate::testing::control_plane::etcd_tool;
use machines::{Machines, agent};

#[tokio::test]
async fn three_members_come_together_under_kills_and_a_wiped_one_comes_back() {
    let mut machines = Machines::new();
    machines.machines[0].ledger.order_bootstrap("test").unwrap();
    let mut random = rand::rng();
    let mut left = 40;
    let together = async |this: &mut Machines| {
        // Anybody's agent, or any member but the only voter's: what is lost is asked for again.
        if left > 0 && random.random_bool(0.2) {
            left -= 1;
            let index = random.random_range(0..3);
            match random.random_bool(0.7) {
                true => this.kill_agent(index),
                false => drop(this.etcds[index].take()),
            }
        }
        left == 0
            && this
                .listed(0)
                .iter()
                .filter(|(_, _, learner)| !learner)
                .count()
                == 3
    };
    machines.until("three voters, under kills", together).await;
    machines.until_three_voters().await;
    let before = machines.listed(0);

    // The founder's disk: the one that could be tempted to found again.
    // A disk is replaced with the machine off.
    machines.agents[0].abort();
    let _ = (&mut machines.agents[0]).await;
    drop(machines.etcds[0].take());
    machines.machines[0].wipe();
    machines.agents[0] = agent(&machines.machines[0]);
    let id = |listed: &[(String, String, bool)], name: &str| {
        listed
            .iter()
            .find(|(n, ..)| n == name)
            .map(|(_, id, _)| id.clone())
    };
    let old = id(&before, "cp1");
    let back = async |this: &mut Machines| {
        let listed = this.listed(1);
        let new = id(&listed, "cp1");
        new.is_some() && new != old && listed.iter().filter(|(_, _, learner)| !learner).count() == 3
    };
    machines.until("the wiped one is a voter again", back).await;
    let now = machines.listed(1);
    for name in ["cp2", "cp3"] {
        assert_eq!(
            id(&before, name),
            id(&now, name),
            "{name} stayed who it was"
        );
    }
    what_is_copied_is_whole(&machines).await;
    who_leads_hands_over(&machines).await;
}

#[tokio::test]
async fn of_two_that_are_added_in_the_same_moment_none_waits_in_vain() {
    let mut machines = Machines::new();
    for index in 1..3 {
        machines.agents[index].abort();
        let _ = (&mut machines.agents[index]).await;
    }
    machines.machines[0].ledger.order_bootstrap("test").unwrap();
    let first = async |this: &mut Machines| this.listed(0).len() == 1;
    machines.until("the first member", first).await;
    let at = BTreeSet::from([machines.machines[0].address()]);
    let join = async |index: usize| {
        let machine = &machines.machines[index];
        let url = machine.desired().etcd_peer_url;
        let as_whom = (machine.name.as_str(), url.as_str());
        machine.cluster.join(&at, as_whom, &machine.ledger).await
    };
    // etcd drops one of two such changes, and says nothing to who asked for it.
    let (second, third) = futures_util::join!(join(1), join(2));
    second.unwrap();
    third.unwrap();
    let members = machines.machines[0].cluster.members(&at).await;
    let learners = members.seen().unwrap().iter().filter(|m| m.learner);
    assert_eq!(learners.count(), 1);
    let joined = |index: &usize| {
        machines.machines[*index]
            .ledger
            .membership()
            .unwrap()
            .is_some()
    };
    assert_eq!((1..3).filter(joined).count(), 1);
}

async fn who_leads_hands_over(machines: &Machines) {
    for machine in &machines.machines {
        let leads = async || {
            let members = machine.cluster.members(&[machine.address()].into()).await;
            let members = members.seen().unwrap();
            members.iter().find(|m| m.leader).unwrap().name.clone()
        };
        let before = leads().await;
        let url = machine.desired().etcd_peer_url;
        let next = machine
            .cluster
            .forfeit(machine.address(), &url)
            .await
            .unwrap();
        match next {
            Some(next) => {
                assert_eq!(before, machine.name, "only who leads hands over");
                assert_eq!(leads().await, next);
            }
            None => assert_ne!(before, machine.name),
        }
    }
}

async fn what_is_copied_is_whole(machines: &Machines) {
    let machine = &machines.machines[0];
    let at = BTreeSet::from([machine.address()]);
    let members = machine.cluster.members(&at).await;
    let members = members.seen().unwrap();
    assert_eq!(
        members.iter().filter(|m| m.leader).count(),
        1,
        "{members:?}"
    );
    let mut parts = machine.cluster.snapshot(&at).await.unwrap();
    let mut bytes = Vec::new();
    let mut left = u64::MAX;
    while let Some(part) = parts.next().await {
        let (blob, remaining) = part.unwrap();
        bytes.extend(blob);
        left = remaining;
    }
    assert_eq!(left, 0);
    // etcdctl finds the digest at its end right, or refuses it.
    let file = machine.scratch.path().join("snapshot.db");
    crate::durable::replace(&file, &bytes, 0o600).unwrap();
    let restored = Command::new(etcd_tool("etcdctl"))
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "restore"])
        .arg(&file)
        .arg(format!(
            "--data-dir={}",
            machine.scratch.path().join("restored").display()
        ))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{said}");
}
