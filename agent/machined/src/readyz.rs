//! `machined readyz`: watches the API server beside it for keepalived, in a process of its own, so that
//! the virtual IP follows readiness also while the agent is away. It says what it finds in a file that
//! keepalived listens on: 0 is ready.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use machine_plan::render::{PKI, UNREADY_FILE};

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
    let mut told_systemd = false;
    loop {
        let ready = !Path::new(LEAVING).exists() && ready(&wish, &mut client).await;
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

/// One question, on the connection of the question before while that works.
async fn ready(wish: &Wish, kept: &mut Option<Client>) -> bool {
    if kept.is_none() {
        *kept = client(wish.server);
    }
    let Some(client) = kept else {
        return false;
    };
    let asked = tokio::time::timeout(wish.patience, client.check("/readyz")).await;
    match asked {
        Ok(Ok(())) => true,
        // It serves, though not strangers. What is not ready yet is asked on the same connection again:
        // another handshake each time is what a server that starts can least do with.
        Ok(Err(Error::Refused { code, .. })) => matches!(code, 401 | 403),
        _ => {
            // The authority may be another by now.
            *kept = None;
            false
        }
    }
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
