//! What is asked of etcd's cluster, ended at every step: the rows of docs/crash-matrix.md.

use std::collections::BTreeSet;
use std::time::Duration;

use machine_plan::action::Action;
use machine_plan::observed::Probe;
use machine_plan::order::EtcdVerb;
use machine_plan::stages::{Stage, verdict};
use machine_plan::turn::renews;
use machine_plan::verdict::Verdict;

use super::machines::{Machine, Machines, TOGETHER, agent, elsewhere};
use crate::crash_matrix::{disk, kind, proven};
use crate::durable::steps;
use crate::ledger::OrderState;
use crate::testing::within;

/// Seconds after all that is done here.
const LATER: i64 = 1000;

impl Machine {
    async fn next(&self) -> Option<Action> {
        let desired = self.desired();
        let observed = self.observe(&desired).await;
        match verdict(Stage::Etcd, &desired, &observed, 0).unwrap() {
            // A turn that is made to last is only the way to what follows.
            Verdict::Act { actions } => actions.into_iter().find(|action| {
                !matches!(action, Action::TakeTurn { turn, over } if renews(turn, over.as_ref()))
            }),
            _ => None,
        }
    }

    /// What the end of its turn asks for, where its API server is well.
    async fn after_its_turn(&self) -> Option<Action> {
        let mut desired = self.desired();
        let mut observed = self.observe(&desired).await;
        // Here is none.
        desired.api_server = None;
        observed.api_server = Probe::Seen(());
        match verdict(Stage::Turn, &desired, &observed, LATER).unwrap() {
            Verdict::Act { actions } => actions.into_iter().next(),
            _ => None,
        }
    }

    async fn act(&self, action: &Action) {
        let done = self.execute(&self.desired(), action).await;
        done.unwrap_or_else(|e| panic!("{action}: {e}"));
    }

    /// Acts until this is next.
    async fn until_next(&self, name: &str) -> Action {
        for _ in 0..10 {
            match self.next().await {
                Some(action) if kind(&action) == name => return action,
                Some(action) => self.act(&action).await,
                None => break,
            }
        }
        panic!("{name} is not planned: {:?}", self.next().await);
    }

    /// As what it is listed, and whether with a vote.
    async fn seen_by(&self, other: &Self) -> Vec<(machine_plan::membership::MemberId, bool)> {
        let at = [other.address()].into();
        let url = self.desired().etcd_peer_url;
        let listed = async {
            loop {
                // A cluster that has just changed may have no leader for a moment.
                if let Probe::Seen(members) = other.cluster.members(&at).await {
                    break members;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let members = within(TOGETHER, "who is a member", listed).await;
        let here = members.iter().filter(|m| m.peer_urls.contains(&url));
        here.map(|m| (m.id, !m.learner)).collect()
    }

    /// It is a member, it remembers as which, and etcd is about to be told.
    async fn has_joined(&self, other: &Self) {
        self.until_next("WriteFile").await;
        let kept = self.ledger.membership().unwrap().unwrap();
        assert_eq!(self.seen_by(other).await, [(kept.id, false)]);
    }

    /// As before it has joined.
    async fn is_out(&self, other: &Self) -> Action {
        for (id, _) in self.seen_by(other).await {
            let at = [other.address()].into();
            other.cluster.remove(&at, (id, "cp2")).await.unwrap();
        }
        self.ledger.forget_membership().unwrap();
        let next = self.next().await.unwrap();
        assert_eq!(kind(&next), "JoinEtcd");
        next
    }
}

#[tokio::test]
async fn what_is_asked_of_the_cluster_ends_at_any_step() {
    let mut machines = Machines::new();
    let [one, two, _] = <[_; 3]>::try_from(machines.machines.clone()).ok().unwrap();
    for index in [1, 2] {
        machines.lose(index).await;
    }
    machines.lost[1] = false;
    one.ledger.order_bootstrap("test").unwrap();
    let founded = async |_: &mut Machines| {
        let order = one.ledger.bootstrap_order().unwrap().unwrap();
        order.state == OrderState::Done && one.ledger.membership().unwrap().is_some()
    };
    machines.until("a cluster of one", founded).await;
    machines.agents[0].abort();

    join(&one, &two).await;
    remove(&one, &two).await;
    promote(&mut machines, &one, &two).await;
    turn(&one, &two).await;
    update(&mut machines, &one, &two).await;
    leave(&mut machines, &one, &two).await;
}

async fn join(one: &Machine, two: &Machine) {
    let folder = two.scratch.path().join("ledger");
    let roots = [folder.as_path()];
    // Before: again the same.
    let action = two.is_out(one).await;
    assert_eq!(two.next().await, Some(action.clone()));
    two.ledger.keep_control_planes(&[]).unwrap();
    let before = disk::read(&roots);
    steps::record(usize::MAX);
    two.act(&action).await;
    let all = steps::recorded();
    two.has_joined(one).await;
    // Killed after the cluster has added it, at each step of remembering it, and after the last.
    let mut ways = BTreeSet::new();
    for count in 0..=all.len() {
        let action = two.is_out(one).await;
        steps::record(count);
        let done = two.execute(&two.desired(), &action).await;
        let taken = steps::recorded();
        assert_eq!(done.is_ok(), count == all.len());
        two.has_joined(one).await;
        ways.extend(disk::cut(&before, &taken));
    }
    // The power goes: in the ledger is all that may be then, in the cluster what it was asked.
    for left in ways {
        let action = two.is_out(one).await;
        two.act(&action).await;
        disk::put(&roots, &left);
        two.has_joined(one).await;
    }
    proven("JoinEtcd", [true; 6]);
}

async fn remove(one: &Machine, two: &Machine) {
    // It was added, and does not remember it.
    let action = two.is_out(one).await;
    two.act(&action).await;
    two.ledger.forget_membership().unwrap();
    let action = two.next().await.unwrap();
    assert_eq!(kind(&action), "RemoveMember");
    assert_eq!(two.next().await, Some(action.clone()));
    for _ in 0..2 {
        two.act(&action).await;
        assert_eq!(two.seen_by(one).await, []);
        assert_eq!(two.next().await.as_ref().map(kind), Some("JoinEtcd"));
    }
    proven("RemoveMember", [true, false, true, false, false, false]);
}

async fn promote(machines: &mut Machines, one: &Machine, two: &Machine) {
    let action = two.until_next("WriteFile").await;
    two.act(&action).await;
    let caught_up = async |_: &mut Machines| {
        let next = two.next().await;
        next.as_ref().map(kind) == Some("PromoteMember")
    };
    machines.until("the learner catches up", caught_up).await;
    let action = two.next().await.unwrap();
    assert_eq!(two.next().await, Some(action.clone()));
    let kept = two.ledger.membership().unwrap().unwrap();
    // The cluster may say for a moment that it is not ready for it.
    let promoted = async |_: &mut Machines| two.execute(&two.desired(), &action).await.is_ok();
    machines.until("it is promoted", promoted).await;
    for _ in 0..2 {
        assert_eq!(two.seen_by(one).await, [(kept.id, true)]);
        assert_eq!(two.next().await.as_ref().map(kind), Some("KeepMembership"));
        two.act(&action).await;
    }
    proven("PromoteMember", [true, false, true, false, false, false]);
    let keep = two.until_next("KeepMembership").await;
    two.act(&keep).await;
}

async fn turn(one: &Machine, two: &Machine) {
    // Another document is in force on both.
    let manifests = [one, two].map(|machine| machine.manifest());
    let right = manifests
        .each_ref()
        .map(|path| std::fs::read(path).unwrap());
    for (path, right) in manifests.iter().zip(&right) {
        let other = [right, &b"# another\n"[..]].concat();
        crate::durable::replace(path.as_ref(), &other, 0o600).unwrap();
    }
    let action = two.until_next("TakeTurn").await;
    let late = one.until_next("TakeTurn").await;
    assert_eq!(two.next().await, Some(action.clone()));
    for _ in 0..2 {
        two.act(&action).await;
        assert_eq!(two.next().await.as_ref().map(kind), Some("WriteFile"));
        // Decided before, and too late.
        one.act(&late).await;
        assert_eq!(one.next().await, None, "it waits for its turn");
        assert_eq!(
            two.after_its_turn().await,
            None,
            "it is not as it should be"
        );
    }
    proven("TakeTurn", [true, false, true, false, false, false]);

    for (path, right) in manifests.iter().zip(&right) {
        crate::durable::replace(path.as_ref(), right, 0o600).unwrap();
    }
    assert_eq!(one.after_its_turn().await, None, "it is another's");
    let action = two.after_its_turn().await.unwrap();
    assert_eq!(kind(&action), "GiveTurn");
    assert_eq!(two.after_its_turn().await, Some(action.clone()));
    for _ in 0..2 {
        two.act(&action).await;
        assert_eq!(two.after_its_turn().await, None);
        // One that is given back late takes nothing that was taken since.
        one.act(&late).await;
        assert_eq!(kind(&one.after_its_turn().await.unwrap()), "GiveTurn");
    }
    proven("GiveTurn", [true, false, true, false, false, false]);
    let action = one.after_its_turn().await.unwrap();
    one.act(&action).await;
}

async fn update(machines: &mut Machines, one: &Machine, two: &Machine) {
    let kept = two.ledger.membership().unwrap().unwrap();
    two.moves_to(elsewhere(1));
    one.hears_of(two.address());
    let action = two.until_next("UpdateMember").await;
    assert_eq!(two.next().await, Some(action.clone()));
    assert_eq!(two.seen_by(one).await, []);
    for _ in 0..2 {
        // The one of two that is listed where it does not listen yet has to be heard all the same.
        let told = async |_: &mut Machines| two.execute(&two.desired(), &action).await.is_ok();
        machines.until("the other is told", told).await;
        assert_eq!(two.seen_by(one).await, [(kept.id, true)]);
        assert_eq!(two.next().await.as_ref().map(kind), Some("WriteFile"));
    }
    proven("UpdateMember", [true, false, true, false, false, false]);
    let write = two.next().await.unwrap();
    two.act(&write).await;
    let at = BTreeSet::from([two.address()]);
    let serves = async |_: &mut Machines| {
        two.cluster.members(&at).await.seen().is_some() && two.next().await.is_none()
    };
    machines.until("it serves at its new address", serves).await;
}

async fn leave(machines: &mut Machines, one: &Machine, two: &std::sync::Arc<Machine>) {
    two.ledger.order_etcd(EtcdVerb::Leave, "test").unwrap();
    let action = two.until_next("LeaveEtcd").await;
    assert_eq!(two.next().await, Some(action.clone()));
    let Action::LeaveEtcd { id, name } = &action else {
        panic!("{action}")
    };
    // As a node does, which asks others too, for it is no member any more in the middle of it.
    let at = BTreeSet::from([one.address(), two.address()]);
    for round in 0..2 {
        let url = two.desired().etcd_peer_url;
        let _ = two.cluster.forfeit(two.address(), &url).await;
        if round == 0 {
            // Its leadership is handed over, and nothing more.
            let again = async |_: &mut Machines| two.next().await.as_ref() == Some(&action);
            machines.until("it is planned again", again).await;
        }
        let left = async |_: &mut Machines| {
            let asked = two.cluster.remove(&at, (*id, name)).await;
            asked.is_ok()
        };
        machines.until("it is taken out", left).await;
        assert_eq!(two.seen_by(one).await, []);
        assert_ne!(two.next().await.as_ref().map(kind), Some("LeaveEtcd"));
    }
    machines.agents[1] = agent(two);
    let done = async |_: &mut Machines| two.ledger.etcd_order().unwrap().unwrap().done;
    machines.until("its data is aside", done).await;
    proven("LeaveEtcd", [true, true, true, false, false, false]);
}
