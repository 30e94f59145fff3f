//! The end of a control plane's part before its machine goes down, by order.

use std::sync::Arc;

use super::Hands;
use crate::api;
use crate::ledger::Entry;
use crate::node::kube::Kube;
use crate::node::{self, NodeError, retire};

impl Hands {
    /// See [`api::Hands::controllers_end`].
    pub(super) async fn end_of_controllers(&self) -> Result<(), String> {
        let Some(entry) = self.control_plane() else {
            return Ok(());
        };
        let ended = async {
            retire::controllers_end().await?;
            let client = Kube::default().client(&node::access(&entry));
            retire::give_leases_up(client, entry.bundle.config.hostname().as_str()).await
        };
        ended.await.map_err(|e: NodeError| api::chain(&e))
    }

    /// See [`api::Hands::api_server_ends`].
    pub(super) async fn end_of_api_server(&self) -> Result<(), String> {
        let Some(entry) = self.control_plane() else {
            return Ok(());
        };
        let ended = retire::api_server_ends(&Kube::default(), &node::access(&entry)).await;
        ended.map_err(|e| api::chain(&e))
    }

    fn control_plane(&self) -> Option<Arc<Entry>> {
        let entry = self.ledger.current()?;
        let is = entry.bundle.config.role().is_control_plane();
        is.then_some(entry)
    }
}
