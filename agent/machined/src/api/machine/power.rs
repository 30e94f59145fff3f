//! Going down: what is asked, and what is done between the answer and the act.

use std::sync::Arc;
use std::time::Duration;

use machine_plan::observed::Retire;
use machine_plan::turn::Purpose;
use tonic::Status;

use super::Machine;
use crate::api::Hands;
use crate::api::audit::Record;
use crate::api::peer::Peer;
use crate::going::Going;
use crate::reconcile::Wake;
use crate::status::Board;

/// Between the answer to a reboot, or to a restart of this agent, and the act: time for the answer to leave.
const ANSWER_FIRST: Duration = Duration::from_secs(1);

/// Seconds that pods are given where the order names none, and at most.
const DRAIN: (u32, u32) = (60, 3600);

/// How long pods are given to leave; `None`: they are not asked.
fn drain(seconds: u32, force: bool) -> Result<Option<Duration>, Status> {
    let seconds = match seconds {
        0 => DRAIN.0,
        seconds if seconds <= DRAIN.1 => seconds,
        seconds => {
            return Err(Status::invalid_argument(format!(
                "drain_seconds is {seconds}, more than {}",
                DRAIN.1
            )));
        }
    };
    Ok((!force).then(|| Duration::from_secs(seconds.into())))
}

/// An order to go down, and how.
pub(super) struct Down {
    how: Purpose,
    going: Going,
}

impl Down {
    /// What the machine serves for others ends while everything else of it is there still. The error
    /// says why it stays.
    async fn last_steps(
        &self,
        hands: &dyn Hands,
        board: &Board,
        wake: &Wake,
    ) -> Result<(), String> {
        let tell = |ended: Result<(), String>| {
            if let Err(why) = ended {
                board.emit("order", "control plane", why);
            }
        };
        // Others may have gone down while pods left.
        hands.may_go_down(self.how).await?;
        self.going.retire(Retire::Controllers);
        wake.wake();
        tell(hands.controllers_end().await);
        self.going.retire(Retire::ApiServer);
        wake.wake();
        tell(hands.api_server_ends().await);
        // And while that took its time.
        hands.may_go_down(self.how).await
    }
}

impl Machine {
    /// Goes down once the answer has left, unless that is refused.
    pub(super) async fn go_down(
        &self,
        how: Purpose,
        peer: &Peer,
        drain_seconds: u32,
        force: bool,
    ) -> Result<(), Status> {
        let drain = drain(drain_seconds, force)?;
        let (method, what) = match how {
            Purpose::Shutdown => ("Shutdown", "shutdown"),
            _ => ("Reboot", "reboot"),
        };
        // Before its turn is taken, which the loop would give back again.
        let going = self.parts.going.begin();
        let record = Record::new(peer, method);
        let record = self.may_go_down(record, how, force).await?;
        self.parts.audit.note(record).await;
        let hands = Arc::clone(&self.parts.hands);
        self.afterwards(what, drain, Some(Down { how, going }), async move {
            match how {
                Purpose::Shutdown => hands.shutdown().await,
                _ => hands.reboot().await,
            }
        });
        Ok(())
    }

    /// The record, where the machine may go down: asked before anything is done about it.
    async fn may_go_down(
        &self,
        record: Record,
        how: Purpose,
        force: bool,
    ) -> Result<Record, Status> {
        let refused = match force {
            true => return Ok(record),
            false => self.parts.hands.may_go_down(how).await,
        };
        match refused {
            Ok(()) => Ok(record),
            Err(why) => {
                let status = Status::failed_precondition(why);
                self.parts.audit.note(record.refused(&status)).await;
                Err(status)
            }
        }
    }

    pub(super) fn afterwards(
        &self,
        what: &'static str,
        drain: Option<Duration>,
        down: Option<Down>,
        act: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let board = Arc::clone(&self.parts.board);
        let hands = Arc::clone(&self.parts.hands);
        let wake = self.parts.wake.clone();
        tokio::spawn(async move {
            tokio::time::sleep(ANSWER_FIRST).await;
            if let Some(limit) = drain {
                hands.drain(limit).await;
            }
            // A leader that only goes silent costs the others an election. A restart of the agent
            // costs them nothing.
            if let Some(order) = &down {
                let goes = match drain {
                    Some(_) => order.last_steps(&*hands, &board, &wake).await,
                    // Who is forced has its turn if it can, and stops at once.
                    None => hands.may_go_down(order.how).await.or(Ok(())),
                };
                if let Err(why) = goes {
                    board.emit("order", what, format!("{what} called off: {why}"));
                    if let Err(why) = hands.stay().await {
                        board.emit("order", "drain", why);
                    }
                    // The loop gives its turn back.
                    drop(down);
                    wake.wake();
                    return;
                }
                let told = match hands.forfeit().await {
                    Ok(next) => next.map(|next| format!("{next} leads now")),
                    Err(why) => Some(format!("this machine may lead still: {why}")),
                };
                if let Some(told) = told {
                    board.emit("order", "etcd", told);
                }
            }
            if let Err(why) = act.await {
                board.emit("order", what, format!("{what} failed: {why}"));
                // Pods may come again, and so may the virtual IP. An agent that ends before this says so in
                // its next run.
                if down.is_some()
                    && let Err(why) = hands.stay().await
                {
                    board.emit("order", "drain", why);
                }
                drop(down);
                wake.wake();
            } else if let Some(down) = down {
                down.going.lasts();
            }
        });
    }
}
