//! The turn to be away: one key of etcd, changed only by who knows what it was.

use std::collections::BTreeSet;
use std::net::IpAddr;

use etcd_client::{Compare, CompareOp, KeyValue, Txn, TxnOp, TxnOpResponse};
use machine_plan::observed::Probe;
use machine_plan::turn::{Turn, TurnSeen, renews};

use super::link::{limited, said};
use super::{Cluster, failed};
use crate::node::NodeError;

/// Where it is kept: beside what the API server keeps, which begins with another word. No lease ends it,
/// for who reboots keeps it until it is well again.
pub(super) const TURN: &str = "/machined/v1/turn";

impl Cluster {
    /// Takes the turn in the place of what was seen. Somebody else may be quicker: the next look says
    /// who. Only a turn that should be this machine's already must be.
    pub async fn take_turn(
        &self,
        at: &BTreeSet<IpAddr>,
        turn: &Turn,
        over: Option<&TurnSeen>,
    ) -> Result<(), NodeError> {
        match self.try_turn(at, turn, over).await {
            Ok(false) if renews(turn, over) => {
                Err(not_taken("it is not this machine's any more".to_owned()))
            }
            tried => tried.map(drop),
        }
    }

    /// The same, and whether it is this machine's now.
    pub async fn try_turn(
        &self,
        at: &BTreeSet<IpAddr>,
        turn: &Turn,
        over: Option<&TurnSeen>,
    ) -> Result<bool, NodeError> {
        let value = turn.written().map_err(not_taken)?;
        let mut client = self.voter(at).await.map_err(not_taken)?.client;
        // A key that is not there has revision 0.
        let known = over.map_or(0, |seen| seen.revision);
        let taking = Txn::new()
            .when([Compare::mod_revision(TURN, CompareOp::Equal, known)])
            .and_then([TxnOp::put(TURN, value, None)])
            .or_else([TxnOp::get(TURN, None)]);
        let answer = limited(client.txn(taking)).await;
        let answer = answer.map_err(|e| not_taken(said(e)))?;
        if answer.succeeded() {
            return Ok(true);
        }
        // Asked for before, by an agent that did not hear the answer.
        Ok(answer.op_responses().iter().any(|op| match op {
            TxnOpResponse::Get(there) => match held(there.kvs()) {
                Probe::Seen(seen) => seen.turn == *turn,
                _ => false,
            },
            _ => false,
        }))
    }

    /// Gives it back as it was seen. One that is another by now is left alone.
    pub async fn give_turn(&self, at: &BTreeSet<IpAddr>, seen: &TurnSeen) -> Result<(), NodeError> {
        let fail = |why| failed("give back", "the turn".to_owned(), why);
        let mut client = self.voter(at).await.map_err(fail)?.client;
        let giving = Txn::new()
            .when([Compare::mod_revision(TURN, CompareOp::Equal, seen.revision)])
            .and_then([TxnOp::delete(TURN, None)]);
        let given = limited(client.txn(giving)).await;
        given.map(drop).map_err(|e| fail(said(e)))
    }
}

/// What is kept.
pub(super) fn held(kept: &[KeyValue]) -> Probe<TurnSeen> {
    let Some(kept) = kept.first() else {
        return Probe::Absent;
    };
    match Turn::read(kept.value()) {
        Ok(turn) => Probe::Seen(TurnSeen {
            turn,
            revision: kept.mod_revision(),
        }),
        Err(why) => Probe::Unreadable(format!("{TURN} in etcd: {why}")),
    }
}

fn not_taken(why: String) -> NodeError {
    failed("take", "the turn".to_owned(), why)
}
