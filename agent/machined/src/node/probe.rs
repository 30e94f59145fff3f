//! How long one question of a look may take.

use std::time::Duration;

use machine_plan::observed::Probe;

/// A probe that takes longer is a result of its own. TCG guests need seconds
/// for a TLS handshake while the API server starts.
pub const PROBE: Duration = Duration::from_secs(10);

/// A probe with its deadline.
pub async fn limited<T>(probe: impl Future<Output = Probe<T>>) -> Probe<T> {
    tokio::time::timeout(PROBE, probe)
        .await
        .unwrap_or_else(|_| Probe::Unreadable(silent()))
}

/// Nothing is there where it is not asked for.
pub async fn if_so<T>(so: bool, probe: impl Future<Output = Probe<T>>) -> Probe<T> {
    match so {
        true => limited(probe).await,
        false => Probe::Absent,
    }
}

/// What is said of one that took longer.
pub fn silent() -> String {
    format!("no answer within {} s", PROBE.as_secs())
}
