//! `machined readyz`: watches the API server beside it for keepalived, in a process of its own, so that
//! the virtual IP follows readiness also while the agent is away. It says what it finds in a file that
//! keepalived listens on: 0 is ready.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use machine_plan::render::{PKI, UNREADY_FILE};
use tokio::time::{Instant, timeout};

use crate::node::LEAVING;
use crate::node::kube::{Client, Door, Error};

/// What the unit's environment says.
struct Wish {
    server: SocketAddr,
    interval: Duration,
    patience: Duration,
}

/// Runs until it is ended, and with it keepalived.
pub async fn run() -> anyhow::Result<()> {
    let wish = Wish::read()?;
    let mut told = None;
    let mut client = None;
    let mut pace = Pace::new(wish.patience);
    let mut told_systemd = false;
    loop {
        // Only one that was ready a moment ago is suspected of hanging.
        let doubt = match told {
            Some(true) => pace.doubt(&wish),
            _ => wish.patience,
        };
        let ready =
            !Path::new(LEAVING).exists() && ready(&wish, &mut client, (&mut pace, doubt)).await;
        if told != Some(ready) {
            tell(ready).with_context(|| format!("cannot write {UNREADY_FILE}"))?;
            tracing::info!(ready, "the API server at {}", wish.server);
            told = Some(ready);
        }
        let mut states = vec![sd_notify::NotifyState::Watchdog];
        if !std::mem::replace(&mut told_systemd, true) {
            states.push(sd_notify::NotifyState::Ready);
        }
        // Outside systemd nobody listens, which is fine.
        let _ = sd_notify::notify(&states);
        tokio::time::sleep(wish.interval).await;
    }
}

// In place, and in memory: keepalived hears the end of writing, and no power cut leaves anything of it.
fn tell(ready: bool) -> std::io::Result<()> {
    let mut file = std::fs::File::create(UNREADY_FILE)?;
    file.write_all(if ready { b"0" } else { b"1" })
}

/// How quick the API server is with its answers of late, here. A machine that is emulated, or has much
/// to do, is given its own time.
struct Pace(Duration);

impl Pace {
    /// An answer that takes so many times the longest of late is not only slow.
    const TIMES: u32 = 8;

    /// What was long once counts less by this part with each answer after it.
    const FADES: u32 = 16;

    /// As slow as may be, until it is known better.
    fn new(patience: Duration) -> Self {
        Self(patience / Self::TIMES)
    }

    fn took(&mut self, answer: Duration) {
        self.0 = answer.max(self.0 - self.0 / Self::FADES);
    }

    /// After what time it is asked whether it is there at all.
    fn doubt(&self, wish: &Wish) -> Duration {
        (self.0 * Self::TIMES).clamp(wish.interval * 2, wish.patience)
    }
}

/// One question, on the connection of the question before while that works. Readiness asks etcd as well and
/// may be slow to tell; one that does not even say that it lives, twice in the time that it needs by far,
/// hangs.
async fn ready(
    wish: &Wish,
    kept: &mut Option<Client>,
    (pace, doubt): (&mut Pace, Duration),
) -> bool {
    if kept.is_none() {
        *kept = client(wish.server);
    }
    let Some(client) = kept.clone() else {
        return false;
    };
    let begun = Instant::now();
    let asked = client.check("/readyz");
    tokio::pin!(asked);
    let answer = match timeout(doubt, &mut asked).await {
        Ok(answer) => Some(answer),
        Err(_) if doubt < wish.patience && lives(&client, doubt).await => {
            let left = wish.patience.saturating_sub(begun.elapsed());
            timeout(left, asked).await.ok()
        }
        Err(_) => None,
    };
    // Who is not there refuses quickly, which says nothing of how quick it will be.
    if matches!(answer, Some(Ok(()) | Err(Error::Refused { .. }))) {
        pace.took(begun.elapsed());
    }
    match answer {
        Some(Ok(())) => true,
        // It serves, though not strangers. What is not ready yet is asked on the same connection again:
        // another handshake each time is what a server that starts can least do with.
        Some(Err(Error::Refused { code, .. })) => matches!(code, 401 | 403),
        _ => {
            // The authority may be another by now.
            *kept = None;
            false
        }
    }
}

/// Whether it answers at all, whatever it says: strangers may ask for this too, and etcd is not asked.
async fn lives(client: &Client, within: Duration) -> bool {
    let asked = timeout(within, client.check("/version")).await;
    matches!(asked, Ok(Ok(()) | Err(Error::Refused { .. })))
}

fn client(server: SocketAddr) -> Option<Client> {
    let authority = std::fs::read_to_string(format!("{PKI}/ca.crt")).ok()?;
    let host = server.ip().to_string();
    let door = Door::new((&host, server.port()), &authority, None);
    door.ok().map(Client::new)
}

impl Wish {
    fn read() -> anyhow::Result<Self> {
        let said = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
        let milliseconds = |name: &str| -> anyhow::Result<Duration> {
            let text = said(name)?;
            let number = text
                .parse()
                .with_context(|| format!("{name} is {text:?}, no number"))?;
            Ok(Duration::from_millis(number))
        };
        let server = said("READYZ_SERVER")?;
        Ok(Self {
            server: server
                .parse()
                .with_context(|| format!("READYZ_SERVER is {server:?}, not address:port"))?,
            interval: milliseconds("READYZ_INTERVAL_MILLISECONDS")?,
            patience: milliseconds("READYZ_PATIENCE_MILLISECONDS")?,
        })
    }
}

#[cfg(test)]
#[path = "readyz_tests.rs"]
mod tests;
