//! Members are added and promoted one at a time: of two such changes in the same moment etcd drops one
//! without a word, and who asked for that one waits for nothing until it gives up.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use tokio::time::Instant;

use super::link::{Failed, limited};

/// Who changes who the members are, at the moment: its peer URL, or of which member it is.
const CHANGE: &str = "/machined/v1/change";

/// Seconds that it lasts, longer than it is waited for and a change takes: one whose machine dies in between
/// does not keep the others.
const LASTS: i64 = 15;

/// How long it is waited for, and how soon again.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);

/// This machine's change, until it is over.
pub(super) struct Change(Option<i64>);

impl Change {
    /// Begins it once no other machine's is under way. Where etcd refuses the key, as it does any while it is
    /// full or its data differs, the change goes on without: membership may still be changed then, and may
    /// have to be.
    pub(super) async fn begin(client: &mut Client, what: &str) -> Result<Self, Failed> {
        let Ok(lease) = limited(client.lease_grant(LASTS, None)).await else {
            return Ok(Self(None));
        };
        let change = Self(Some(lease.id()));
        let until = Instant::now() + PATIENCE;
        loop {
            let with = PutOptions::new().with_lease(lease.id());
            let taking = Txn::new()
                // A key that is not there has revision 0.
                .when([Compare::mod_revision(CHANGE, CompareOp::Equal, 0)])
                .and_then([TxnOp::put(CHANGE, what, Some(with))]);
            match limited(client.txn(taking)).await {
                Ok(taken) if taken.succeeded() => return Ok(change),
                Ok(_) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
                Ok(_) => {
                    change.end(client).await;
                    return Err("another machine changes who the members are".to_owned());
                }
                Err(_) => {
                    change.end(client).await;
                    return Ok(Self(None));
                }
            }
        }
    }

    /// Ends it. Where that fails it ends by itself.
    pub(super) async fn end(self, client: &mut Client) {
        if let Some(lease) = self.0 {
            let _ = limited(client.lease_revoke(lease)).await;
        }
    }
}
