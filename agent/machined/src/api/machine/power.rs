//! Going down: what is asked, and what is done between the answer and the act.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use super::{ANSWER_FIRST, Machine};
use crate::api::audit::Record;
use crate::api::peer::Peer;

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

/// How a machine goes down.
#[derive(Debug, Clone, Copy)]
pub(super) enum Down {
    Reboot,
    Shutdown,
}

impl Machine {
    /// Goes down once the answer has left, unless that is refused.
    pub(super) async fn go_down(
        &self,
        how: Down,
        peer: &Peer,
        drain_seconds: u32,
        force: bool,
    ) -> Result<(), Status> {
        let drain = drain(drain_seconds, force)?;
        let (method, what) = match how {
            Down::Reboot => ("Reboot", "reboot"),
            Down::Shutdown => ("Shutdown", "shutdown"),
        };
        let record = self.may_go_down(Record::new(peer, method), force).await?;
        self.parts.audit.note(record).await;
        let hands = Arc::clone(&self.parts.hands);
        self.afterwards(what, drain, true, async move {
            match how {
                Down::Reboot => hands.reboot().await,
                Down::Shutdown => hands.shutdown().await,
            }
        });
        Ok(())
    }

    /// The record, where the machine may go down: asked before anything is done about it.
    async fn may_go_down(&self, record: Record, force: bool) -> Result<Record, Status> {
        let refused = match force {
            true => return Ok(record),
            false => self.parts.hands.may_go_down().await,
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
        down: bool,
        act: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let board = Arc::clone(&self.parts.board);
        let hands = Arc::clone(&self.parts.hands);
        tokio::spawn(async move {
            tokio::time::sleep(ANSWER_FIRST).await;
            if let Some(limit) = drain {
                hands.drain(limit).await;
            }
            // A leader that only goes silent costs the others an election. A restart of the agent
            // costs them nothing.
            if down {
                // Others may have gone down while pods left.
                if let Err(why) = hands.may_go_down().await
                    && drain.is_some()
                {
                    board.emit("order", what, format!("{what} called off: {why}"));
                    if let Err(why) = hands.stay().await {
                        board.emit("order", "drain", why);
                    }
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
                if down && let Err(why) = hands.stay().await {
                    board.emit("order", "drain", why);
                }
            }
        });
    }
}
