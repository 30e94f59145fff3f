//! A member's address changes, with and without anybody to tell it to.

use std::collections::BTreeSet;

use super::machines::{Machines, agent, elsewhere};

async fn three() -> Machines {
    let mut machines = Machines::new();
    machines.machines[0].ledger.order_bootstrap("test").unwrap();
    machines.until_three_voters().await;
    let remembered = async |this: &mut Machines| {
        let mut kept = this.machines.iter().map(|m| m.ledger.membership().unwrap());
        kept.all(|kept| kept.is_some_and(|kept| kept.voter))
    };
    machines.until("all know their vote", remembered).await;
    machines.etcdctl(0, &["put", "kept", "what was written before"]);
    machines
}

fn wanted(machines: &Machines) -> BTreeSet<String> {
    let urls = machines.machines.iter();
    urls.map(|m| m.desired().etcd_peer_url).collect()
}

/// Listed where it is, serves there, and is who it was.
async fn until_moved(machines: &mut Machines, index: usize, before: &[(String, String, bool)]) {
    let done = async |this: &mut Machines| {
        let read = this.etcdctl(index, &["get", "kept", "--print-value-only"]);
        this.urls(index) == wanted(this) && read.trim() == "what was written before"
    };
    machines
        .until("it is listed and serves where it is", done)
        .await;
    let mut now = machines.listed(index);
    let mut before = before.to_vec();
    now.sort();
    before.sort();
    assert_eq!(now, before, "the same three voters");
}

#[tokio::test]
async fn a_member_is_listed_at_its_new_address_before_it_listens_there() {
    let mut machines = three().await;
    let before = machines.listed(0);
    machines.machines[1].moves_to(elsewhere(1));
    for other in [0, 2] {
        machines.machines[other].hears_of(elsewhere(1));
    }
    // Its agent is killed all the time.
    let mut kills = 10;
    let killed = async |this: &mut Machines| {
        kills -= 1;
        this.kill_agent(1);
        kills == 0
    };
    machines.until("its agent was killed", killed).await;
    until_moved(&mut machines, 1, &before).await;
}

/// The half of a connection that it dials itself is enough for a quorum, by which it is then listed.
#[tokio::test]
async fn a_member_that_nobody_finds_any_more_dials_the_others() {
    let mut machines = three().await;
    let before = machines.listed(0);
    machines.lose(2).await;
    machines.machines[2].moves_to(elsewhere(2));
    // With one of three it has to be one of the two that are left.
    machines.lose(0).await;
    machines.lost[2] = false;
    let _ = std::fs::remove_file(machines.machines[2].manifest());
    machines.agents[2] = agent(&machines.machines[2]);
    machines.machines[1].hears_of(elsewhere(2));
    let moved = async |this: &mut Machines| this.urls(2) == wanted(this);
    machines.until("it is listed where it is", moved).await;
    machines.find(0);
    until_moved(&mut machines, 2, &before).await;
}
