//! What several calls do alike, and the longer ones' steps.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use machined_proto::v1;
use tonic::{Response, Status};

use super::{Answer, Machine, STREAMS};
use crate::api::audit::Record;
use crate::api::peer::Peer;
use crate::api::{convert, document};
use crate::ledger::OrderState;

/// This agent's own unit: a restart ends the call that asks for it.
const AGENT: &str = "machined.service";

impl Machine {
    pub(super) fn accepted(&self, generation: u64, by: &str) {
        let object = format!("generation {generation}");
        self.parts
            .board
            .emit("config", object, format!("accepted from {by}"));
        self.parts.wake.wake();
    }

    /// The result, once it is in the audit log.
    pub(super) async fn written_down<T>(
        &self,
        record: Record,
        result: Result<T, Status>,
        generation: impl FnOnce(&T) -> Option<u64>,
    ) -> Result<T, Status> {
        let audit = &self.parts.audit;
        match result {
            Err(status) => {
                audit.note(record.refused(&status)).await;
                Err(status)
            }
            Ok(value) => {
                let generation = generation(&value);
                let record = match generation {
                    Some(generation) => record.generation(generation),
                    None => record,
                };
                audit.append(record).await.map_err(|e| {
                    let done = generation
                        .map(|g| format!(" as generation {g}"))
                        .unwrap_or_default();
                    Status::internal(format!("it was done{done}, but the audit log failed: {e}"))
                })?;
                Ok(value)
            }
        }
    }

    pub(super) async fn order_bootstrap(&self, by: &str) -> Result<String, Status> {
        let ledger = Arc::clone(&self.parts.ledger);
        let current = ledger.current();
        if !current.is_some_and(|entry| entry.bundle.config.role().holds_keys()) {
            return Err(Status::failed_precondition(
                "a worker cannot begin a cluster: order it on a control plane machine",
            ));
        }
        let before = ledger.bootstrap_order().map_err(|e| convert::ledger(&e))?;
        // A repeated order finds its own data here; only a first one must find none.
        if !before.is_some_and(|order| order.state == OrderState::Ordered) {
            self.parts
                .hands
                .may_bootstrap()
                .await
                .map_err(Status::failed_precondition)?;
        }
        let name = by.to_owned();
        let order = document::blocking(move || ledger.order_bootstrap(&name))
            .await?
            .map_err(|e| convert::ledger(&e))?;
        self.parts
            .board
            .emit("order", order.clone(), format!("ordered by {by}"));
        self.parts.wake.wake();
        Ok(order)
    }

    pub(super) async fn restart(
        &self,
        peer: Peer,
        name: String,
    ) -> Answer<v1::RestartServiceResponse> {
        let record = Record::new(&peer, "RestartService").object(name.clone());
        if let Err(status) = self.knows(&name).await {
            self.parts.audit.note(record.refused(&status)).await;
            return Err(status);
        }
        // Before, as one of them is this agent; and done even if it cannot be written down, as
        // it may be what frees a full disk.
        self.parts.audit.note(record.clone()).await;
        let hands = Arc::clone(&self.parts.hands);
        if name == AGENT {
            let act = async move { hands.restart(name).await };
            self.afterwards("restart", None, None, act);
        } else if let Err(why) = hands.restart(name).await {
            let status = Status::failed_precondition(why);
            self.parts.audit.note(record.refused(&status)).await;
            return Err(status);
        }
        self.parts.wake.wake();
        Ok(Response::new(v1::RestartServiceResponse {}))
    }

    async fn knows(&self, name: &str) -> Result<(), Status> {
        let known = self
            .parts
            .hands
            .services()
            .await
            .map_err(Status::unavailable)?;
        if known.iter().any(|service| service.name == name) {
            return Ok(());
        }
        let names: Vec<_> = known.into_iter().map(|service| service.name).collect();
        Err(Status::not_found(format!(
            "{name} is not one of {}",
            names.join(", ")
        )))
    }

    pub(super) fn stream<T: Send + 'static>(
        &self,
        items: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Answer<BoxStream<'static, Result<T, Status>>> {
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{STREAMS} streams are open: close one"))
        })?;
        let stop = self.stop.clone().cancelled_owned();
        let items = items.take_until(stop).map(move |item| {
            let _held = &place;
            item
        });
        Ok(Response::new(items.boxed()))
    }
}
