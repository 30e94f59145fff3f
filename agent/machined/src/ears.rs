//! What wakes the loop. Ears never act.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use crate::ledger::Ledger;
use crate::node::Node;
use crate::reconcile::Wake;

/// Between tries to listen to an API server that does not answer, or that ended
/// the watch, as it does every few minutes.
const AGAIN: Duration = Duration::from_secs(5);

/// Kubelets that ask for a serving certificate. Only control planes decide on that.
pub async fn serving(node: Arc<Node>, ledger: Arc<Ledger>, wake: Wake) {
    loop {
        if let Some(entry) = ledger.current()
            && entry.bundle.config.role().is_control_plane()
            && let Ok(changes) = node.serving(&entry).await
        {
            let mut changes = std::pin::pin!(changes);
            while changes.next().await.is_some() {
                wake.wake();
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Nodes that come, go or change: their pods' ways, and this one's readiness.
pub async fn nodes(node: Arc<Node>, ledger: Arc<Ledger>, wake: Wake) {
    loop {
        if let Some(entry) = ledger.current()
            && entry.bundle.config.role().has_node()
            && let Ok(changes) = node.changes(&entry).await
        {
            let mut changes = std::pin::pin!(changes);
            while changes.next().await.is_some() {
                wake.wake();
            }
        }
        // For as long as the API is away the loop's own looks say so.
        tokio::time::sleep(AGAIN).await;
    }
}
