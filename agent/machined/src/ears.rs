//! What wakes the loop. Ears never act.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use machine_config::Role;

use crate::ledger::{Entry, Ledger};
use crate::node::Node;
use crate::reconcile::Wake;

/// Between tries to listen to an API server that does not answer, or that ended
/// the watch, as it does every few minutes.
const AGAIN: Duration = Duration::from_secs(5);

/// Kubelets that ask for a serving certificate. Only control planes decide on that.
pub async fn serving(node: Arc<Node>, ledger: Arc<Ledger>, wake: Wake) {
    let begin = async |entry: &Entry| node.serving(entry).await;
    follow(&ledger, &wake, Role::is_control_plane, begin).await;
}

/// Nodes that come, go or change: their pods' ways, and this one's readiness.
pub async fn nodes(node: Arc<Node>, ledger: Arc<Ledger>, wake: Wake) {
    let begin = async |entry: &Entry| node.changes(entry).await;
    follow(&ledger, &wake, Role::has_node, begin).await;
}

/// Watches what machines of some roles have to do with, again and again.
async fn follow<News: Stream<Item = ()>>(
    ledger: &Ledger,
    wake: &Wake,
    concerns: fn(Role) -> bool,
    begin: impl AsyncFn(&Entry) -> Result<News, String>,
) {
    loop {
        if let Some(entry) = ledger.current()
            && concerns(entry.bundle.config.role())
            && let Ok(changes) = begin(&entry).await
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
