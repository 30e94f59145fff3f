//! The turn in a real etcd: taken by one, kept, given back by whom it is, taken over from who is gone.

use machine_plan::membership::MemberId;
use machine_plan::observed::Probe;
use machine_plan::turn::{Purpose, Stand, Turn, TurnSeen, stand};

use super::machines::Machines;
use crate::node::etcd::cluster::Asked;

fn turn(member: u64, since: i64) -> Turn {
    Turn {
        version: Turn::VERSION,
        holder: format!("cp{member}"),
        member: MemberId(member),
        purpose: Purpose::Reboot,
        boot: "b".to_owned(),
        since,
        order: None,
    }
}

#[tokio::test]
async fn a_turn_is_one_machines_until_it_gives_it_back_or_is_gone() {
    let mut machines = Machines::new();
    for index in [1, 2] {
        machines.lose(index).await;
    }
    machines.machines[0].ledger.order_bootstrap("test").unwrap();
    let founded = async |this: &mut Machines| this.voters(0) == 1;
    machines.until("a cluster of one", founded).await;
    // Alone it takes none, and gives none back that others play here.
    machines.agents[0].abort();
    let machine = machines.machines[0].clone();
    let (cluster, at) = (&machine.cluster, [machine.address()].into());
    let asked = async || match cluster.ask(&at).await {
        Asked {
            members: Probe::Seen(members),
            turn,
            ..
        } => (members, turn),
        other => panic!("{other:?}"),
    };
    let seen = async || -> TurnSeen { asked().await.1.seen().unwrap().clone() };
    assert_eq!(asked().await.1, Probe::Absent);

    // Two at the same moment, each from the same look: one of them, and it knows.
    let (one, other) = (turn(1, 10), turn(2, 10));
    let taken = tokio::join!(
        cluster.try_turn(&at, &one, None),
        cluster.try_turn(&at, &other, None)
    );
    let taken = (taken.0.unwrap(), taken.1.unwrap());
    assert_ne!(taken.0, taken.1);
    let (one, other) = match taken.0 {
        true => (one, other),
        false => (other, one),
    };
    assert_eq!(seen().await.turn, one);
    // Once more by an agent that was killed before it heard of it; the other only looks again.
    assert!(cluster.try_turn(&at, &one, None).await.unwrap());
    cluster.take_turn(&at, &other, None).await.unwrap();
    let first = seen().await;
    assert_eq!(first.turn, one);

    // Kept from now on; a request from before takes nothing away.
    let kept = Turn {
        since: 20,
        ..one.clone()
    };
    cluster.take_turn(&at, &kept, Some(&first)).await.unwrap();
    cluster.give_turn(&at, &first).await.unwrap();
    let second = seen().await;
    assert_eq!(second.turn, kept);
    let lost = Turn {
        since: 30,
        ..one.clone()
    };
    let why = cluster.take_turn(&at, &lost, Some(&first)).await;
    let why = why.unwrap_err().to_string();
    assert_eq!(
        why,
        "cannot take the turn: it is not this machine's any more"
    );
    for _ in 0..2 {
        cluster.give_turn(&at, &second).await.unwrap();
        assert_eq!(asked().await.1, Probe::Absent);
    }

    // Of who is no member: anybody's, but only as it was seen.
    cluster.take_turn(&at, &one, None).await.unwrap();
    let (members, left) = asked().await;
    let own = members[0].id;
    assert_eq!(stand(&members, own, &left), Stand::NotNeeded);
    let two = [&members[..], &[other_member(own)]].concat();
    let Stand::Free(over) = stand(&two, own, &left) else {
        panic!("{left:?}")
    };
    let next = turn(own.0, 40);
    cluster.take_turn(&at, &next, over).await.unwrap();
    assert_eq!(seen().await.turn, next);
    assert!(!cluster.try_turn(&at, &other, over).await.unwrap());
    assert_eq!(
        stand(&two, own, &asked().await.1),
        Stand::Ours(&seen().await)
    );

    // What a newer agent left is not taken for nothing.
    machines.etcdctl(0, &["put", "/machined/v1/turn", r#"{"version":2}"#]);
    let (_, turn) = asked().await;
    assert!(
        matches!(&turn, Probe::Unreadable(why) if why.contains("its version is 2")),
        "{turn:?}"
    );
}

fn other_member(own: MemberId) -> machine_plan::membership::Member {
    machine_plan::membership::Member {
        id: MemberId(own.0 ^ 1),
        name: "another".to_owned(),
        peer_urls: Vec::new(),
        learner: false,
        leader: false,
        applied: Probe::Absent,
    }
}
