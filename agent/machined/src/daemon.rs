//! Puts the parts together: maintenance until there is a config, then the loop
//! and the machine API.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use machine_pki::Secret;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Anchor, Audit, Ended, Journal, Parts};
use crate::boot;
use crate::ears;
use crate::hands::Hands;
use crate::identity::Identity;
use crate::ledger::Ledger;
use crate::node::systemd::Systemd;
use crate::node::{Node, facts};
use crate::reconcile::{Reconciler, Wake};
use crate::status::Board;

const STATE: &str = "/var/lib/machined";

/// The system bus comes up beside us at boot.
const BUS: Duration = Duration::from_secs(60);

/// Runs until told to stop.
pub async fn run() -> anyhow::Result<()> {
    let state = Path::new(STATE);
    let ledger = Arc::new(Ledger::open(&state.join("ledger"), boot::clock())?);
    let board = Arc::new(Board::default());
    for why in ledger.unreadable() {
        board.emit("condition", "ledger", why);
    }
    let audit = Audit::new(&state.join("audit.log"), Arc::clone(&board));
    let stop = stop_on_signal()?;
    let listener = api::bind(machined_proto::PORT).await.with_context(|| {
        format!(
            "cannot listen for the machine API on port {}",
            machined_proto::PORT
        )
    })?;

    if ledger.current().is_none() {
        let anchor = anchor()?;
        ready("in maintenance: waiting for a config");
        let ended = api::maintain(
            Arc::clone(&listener),
            anchor,
            Arc::clone(&ledger),
            audit.clone(),
            stop.clone(),
        )
        .await?;
        match ended {
            Ended::Stopped => return Ok(()),
            Ended::Enrolled { generation } => {
                boot::console(&format!(
                    "machined: config accepted as generation {generation}"
                ));
                board.emit(
                    "config",
                    format!("generation {generation}"),
                    "accepted by enrolment",
                );
            }
        }
    }

    let entry = ledger
        .current()
        .context("the ledger lost the config it has just accepted")?;
    let identity = Identity::new(&entry, state)?;
    let front = Arc::clone(&identity.front);
    let wake = Wake::default();
    let systemd = system_bus().await?;
    let hands = Hands {
        systemd: systemd.clone(),
        ledger: Arc::clone(&ledger),
        wake: wake.clone(),
    };
    let parts = Parts {
        ledger: Arc::clone(&ledger),
        board: Arc::clone(&board),
        wake: wake.clone(),
        hands: Arc::new(hands),
        audit,
        journal: Journal::default(),
    };
    ready("configured");
    boot::console(&format!(
        "machined: {} serves the machine API, generation {}",
        entry.bundle.config.hostname(),
        entry.generation.number
    ));
    let node = Arc::new(Node::new(systemd.clone(), Arc::clone(&ledger)));
    let reconciler = Reconciler {
        node: Arc::clone(&node),
        ledger: Arc::clone(&ledger),
        board: Arc::clone(&board),
        wake: wake.clone(),
        alive: Box::new(|| drop(sd_notify::notify(&[sd_notify::NotifyState::Watchdog]))),
    };
    // Each runs until `stop`; the first to end by itself has failed.
    tokio::select! {
        served = api::serve(listener, front, parts, stop.clone()) => served?,
        () = reconciler.run() => {}
        () = ears::nodes(node, Arc::clone(&ledger), wake.clone()) => {}
        () = identity.keep(ledger, board, wake.clone()) => {}
        () = listen(systemd, wake) => {}
    }
    Ok(())
}

// An ear: it wakes the loop and never acts.
async fn listen(systemd: Systemd, wake: Wake) {
    loop {
        if let Ok(changes) = systemd.changes().await {
            let mut changes = std::pin::pin!(changes);
            while changes.next().await.is_some() {
                wake.wake();
            }
        }
        // The bus went away: the loop's own looks say so; try again calmly.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

fn anchor() -> anyhow::Result<Anchor> {
    let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Ok(by_code());
    };
    let path = Path::new(&directory).join("machined.enrolment");
    match std::fs::read_to_string(&path) {
        Ok(bundle) => {
            let anchor = Anchor::from_bundle(&Secret::new(bundle))
                .with_context(|| format!("cannot use the credential {}", path.display()))?;
            boot::console(&boot::maintenance_banner(&facts::addresses(), None));
            Ok(anchor)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(by_code()),
        Err(e) => Err(e).with_context(|| format!("cannot read the credential {}", path.display())),
    }
}

fn by_code() -> Anchor {
    let show = |code: &machine_pki::code::EnrolmentCode| {
        boot::console(&boot::maintenance_banner(
            &facts::addresses(),
            Some(&code.to_string()),
        ));
    };
    Anchor::Code {
        show: Box::new(show),
    }
}

async fn system_bus() -> anyhow::Result<Systemd> {
    let begun = Instant::now();
    loop {
        match Systemd::connect().await {
            Ok(systemd) => return Ok(systemd),
            Err(e) if begun.elapsed() > BUS => {
                return Err(e).context("cannot reach systemd over the system bus");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        cancel.cancel();
    });
    Ok(stop)
}

// Outside systemd nobody listens, which is fine.
fn ready(status: &str) {
    let states = [
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(status),
    ];
    let _ = sd_notify::notify(&states);
}
