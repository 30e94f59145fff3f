//! One-shot orders from a person, durable before they are acted on.
//!
//! `bootstrap` is an order and never a config field: otherwise a first node
//! that was wiped and cut off would start a second cluster from its config.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{LedgerError, Now, io};
use crate::durable;

const FILE: &str = "bootstrap.order";

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderState {
    /// To be acted on until the cluster is there.
    Ordered,
    /// The cluster was there. Never acted on again, whatever is lost.
    Done,
}

/// The order to make a new cluster on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapOrder {
    /// Format of this file: 1.
    pub version: u32,
    /// Identifies it in events and the audit log.
    pub id: String,
    /// Who gave it.
    pub by: String,
    /// Wall clock, milliseconds since the epoch.
    pub ordered_ms: i64,
    /// How far it is.
    pub state: OrderState,
}

pub(super) fn order(directory: &Path, by: &str, now: &Now) -> Result<String, LedgerError> {
    match read(directory)? {
        Some(BootstrapOrder {
            id,
            state: OrderState::Ordered,
            ..
        }) => Ok(id),
        Some(BootstrapOrder {
            id,
            state: OrderState::Done,
            ..
        }) => Err(LedgerError::Bootstrapped { id }),
        None => {
            let order = BootstrapOrder {
                version: 1,
                id: format!("bootstrap-{}", now.wall_ms),
                by: by.to_owned(),
                ordered_ms: now.wall_ms,
                state: OrderState::Ordered,
            };
            write(directory, &order)?;
            Ok(order.id)
        }
    }
}

pub(super) fn finish(directory: &Path) -> Result<(), LedgerError> {
    match read(directory)? {
        Some(order) if order.state == OrderState::Ordered => write(
            directory,
            &BootstrapOrder {
                state: OrderState::Done,
                ..order
            },
        ),
        _ => Ok(()),
    }
}

/// Whether a cluster is being made here. What cannot be read may be an order.
pub(super) fn founding(directory: &Path) -> bool {
    let order = read(directory);
    !matches!(order, Ok(order) if order.as_ref().is_none_or(|o| o.state == OrderState::Done))
}

pub(super) fn read(directory: &Path) -> Result<Option<BootstrapOrder>, LedgerError> {
    let path = directory.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| io("understand", &path)(e.into())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io("read", &path)(e)),
    }
}

fn write(directory: &Path, order: &BootstrapOrder) -> Result<(), LedgerError> {
    let path = directory.join(FILE);
    let bytes = serde_json::to_vec(order).map_err(|e| io("encode", &path)(e.into()))?;
    durable::replace(&path, &bytes, 0o600).map_err(io("write", &path))
}
