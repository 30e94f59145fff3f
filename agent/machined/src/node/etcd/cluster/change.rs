//! Members are added and promoted one at a time: of two such changes in the same moment etcd drops one
//! without a word, and who asked for that one waits for nothing until it gives up.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use tokio::time::Instant;

use super::link::{Failed, limited, said};

/// Who changes who the members are, at the moment: its peer URL, or of which member it is.
const CHANGE: &str = "/machined/v1/change";

/// Seconds that it lasts, longer than a change takes: one whose machine dies in between does not keep
/// the others.
const LASTS: i64 = 10;

/// How long it is waited for, and how soon again.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);

/// This machine's change, until it is over.
pub(super) struct Change(i64);

impl Change {
    /// Begins it once no other machine's is under way.
    pub(super) async fn begin(client: &mut Client, what: &str) -> Result<Self, Failed> {
        let lease = limited(client.lease_grant(LASTS, None)).await;
        let lease = lease.map_err(said)?.id();
        let change = Self(lease);
        let until = Instant::now() + PATIENCE;
        loop {
            let with = PutOptions::new().with_lease(lease);
            let taking = Txn::new()
                // A key that is not there has revision 0.
                .when([Compare::mod_revision(CHANGE, CompareOp::Equal, 0)])
                .and_then([TxnOp::put(CHANGE, what, Some(with))]);
            if limited(client.txn(taking)).await.map_err(said)?.succeeded() {
                return Ok(change);
            }
            if Instant::now() > until {
                change.end(client).await;
                return Err("another machine changes who the members are".to_owned());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Ends it. Where that fails it ends by itself.
    pub(super) async fn end(self, client: &mut Client) {
        let _ = limited(client.lease_revoke(self.0)).await;
    }
}
