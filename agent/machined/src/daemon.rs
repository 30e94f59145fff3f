//! Puts the parts together: maintenance until there is a config, then the loop
//! and the machine API.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use machine_pki::Secret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Anchor, Audit, Ended, Parts};
use crate::boot;
use crate::clock::{self, Accepted, Raised};
use crate::conditions::{Condition, Kind, Source, Watch};
use crate::ears;
use crate::going::GoingDown;
use crate::hands::{self, Hands};
use crate::identity::Identity;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::node::kubelet::Asked;
use crate::node::systemd::Systemd;
use crate::node::{Node, facts};
use crate::pulse;
use crate::reconcile::{Reconciler, Wake};
use crate::status::Board;
use crate::watchdog::Watchdog;

const STATE: &str = "/var/lib/machined";

/// Between tries of what only another's end makes possible: a port, a partition.
const AGAIN: Duration = Duration::from_secs(2);

/// Runs until told to stop.
pub async fn run() -> anyhow::Result<()> {
    let state = Path::new(STATE);
    let board = Arc::new(Board::with_console(boot::console));
    let stop = stop_on_signal()?;
    let watchdog = Watchdog::default();
    tokio::spawn(watchdog.clone().feed());
    let opened = patiently(
        &board,
        &stop,
        Source::Boot,
        Kind::StateUnreadable,
        "ledger",
        async || Ledger::open(&state.join("ledger"), boot::clock()),
    );
    let Some(ledger) = opened.await.map(Arc::new) else {
        return Ok(());
    };
    let raised = raise_clock(&ledger);
    let audit = Audit::new(&state.join("audit.log"), Arc::clone(&board));

    let mut listener = None;
    if ledger.current().is_none() {
        damaged(&ledger, &board);
        let Some(socket) = listen(&board, &stop).await else {
            return Ok(());
        };
        let anchor = anchor()?;
        ready("in maintenance: waiting for a config");
        let ended = api::maintain(
            Arc::clone(&socket),
            anchor,
            Arc::clone(&ledger),
            audit.clone(),
            Arc::clone(&board),
            stop.clone(),
        )
        .await?;
        listener = Some(socket);
        match ended {
            Ended::Stopped => return Ok(()),
            Ended::Enrolled { generation } => {
                boot::console(&format!(
                    "machined: config accepted as generation {generation}"
                ));
                board.wrong(Source::Boot, Vec::new());
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
    let asked = Arc::<Asked>::default();
    let identity = Identity::new(&entry, state, Arc::clone(&asked), Arc::clone(&board))?;
    let front = Arc::clone(&identity.front);
    // Whatever an earlier run was about to do, this one is not going down.
    hands::take_back();
    let wake = Wake::default();
    let systemd = Systemd::default();
    let going = GoingDown::default();
    let hands = Hands {
        systemd: systemd.clone(),
        ledger: Arc::clone(&ledger),
        board: Arc::clone(&board),
        wake: wake.clone(),
    };
    let journal = Journal::default();
    let parts = Parts {
        ledger: Arc::clone(&ledger),
        board: Arc::clone(&board),
        wake: wake.clone(),
        hands: Arc::new(hands),
        going: going.clone(),
        audit,
        journal: journal.clone(),
    };
    let node = Arc::new(Node::new(
        systemd.clone(),
        Arc::clone(&ledger),
        asked,
        going,
    ));
    let reconciler = Reconciler {
        node: Arc::clone(&node),
        ledger: Arc::clone(&ledger),
        board: Arc::clone(&board),
        wake: wake.clone(),
        watchdog,
        watch: Watch::new(journal, raised),
    };
    ready("configured");
    let serve = async {
        // The machine is kept as it should be also while nobody can ask for it.
        let socket = match listener {
            Some(socket) => Some(socket),
            None => listen(&board, &stop).await,
        };
        let Some(socket) = socket else { return Ok(()) };
        boot::console(&format!(
            "machined: {} serves the machine API, generation {}",
            entry.bundle.config.hostname(),
            entry.generation.number
        ));
        api::serve(socket, front, parts, stop.clone()).await
    };
    // Each runs until `stop`; the first to end by itself has failed.
    tokio::select! {
        served = serve => served?,
        () = reconciler.run() => {}
        () = ears::serving(Arc::clone(&node), Arc::clone(&ledger), wake.clone()) => {}
        () = ears::nodes(node, Arc::clone(&ledger), wake.clone()) => {}
        () = identity.keep(Arc::clone(&ledger), Arc::clone(&board), wake.clone()) => {}
        () = pulse::listen(wake.clone()) => {}
        () = hear(systemd, wake) => {}
    }
    Ok(())
}

async fn listen(board: &Board, stop: &CancellationToken) -> Option<Arc<TcpListener>> {
    let object = format!("port {}", machined_proto::PORT);
    let bind = async || api::bind(machined_proto::PORT).await;
    patiently(
        board,
        stop,
        Source::Listener,
        Kind::PortInUse,
        &object,
        bind,
    )
    .await
}

/// Tries until it works or `stop`: an agent that ended instead would be started
/// again and again, and say nothing but that.
async fn patiently<T, E: std::error::Error>(
    board: &Board,
    stop: &CancellationToken,
    source: Source,
    kind: Kind,
    object: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Option<T> {
    let mut failed = false;
    loop {
        match attempt().await {
            Ok(done) => {
                if failed {
                    board.wrong(source, Vec::new());
                }
                return Some(done);
            }
            Err(error) => {
                let why = api::chain(&error);
                board.wrong(source, vec![Condition::new(kind, object, why)]);
                if !failed {
                    ready(kind.word());
                }
                failed = true;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = stop.cancelled() => return None,
        }
    }
}

// Before anything is signed or believed: certificates are valid from a day on.
fn raise_clock(ledger: &Ledger) -> Option<Raised> {
    let newest = ledger.get(0).ok().map(|e| Accepted::of(&e.generation));
    match clock::raise(newest) {
        Ok(raised) => {
            if let Some(Raised { from_ms, to_ms }) = raised {
                let (from, to) = (clock::day(from_ms), clock::day(to_ms));
                tracing::warn!("the clock said {from}; set to {to}, the last time known here");
            }
            raised
        }
        // The look says what is wrong with it.
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

// A config was accepted here once and none of them can be used: that is no new
// machine, and whoever stands before it has to hear so (docs/decisions/0004).
fn damaged(ledger: &Ledger, board: &Board) {
    let unreadable = ledger.unreadable();
    let Some(first) = unreadable.first() else {
        return;
    };
    let message = format!(
        "this machine had a config, and none of its {} generations can be used: {first}",
        unreadable.len()
    );
    let condition = Condition::new(Kind::StateUnreadable, "ledger", message).next(
        "boot the version that wrote them, or enrol this machine again with its own config; \
         the damaged files are kept",
    );
    board.wrong(Source::Boot, vec![condition]);
}

// An ear: it wakes the loop and never acts.
async fn hear(systemd: Systemd, wake: Wake) {
    loop {
        if let Ok(changes) = systemd.changes().await {
            // It may have been away: a look says that it is back.
            wake.wake();
            let mut changes = std::pin::pin!(changes);
            while let Some(unit) = changes.next().await {
                // Pods come and go as scopes, slices and mounts.
                if unit.ends_with(".service") {
                    wake.wake();
                }
            }
            wake.wake();
        }
        // The bus went away: the loop's own looks say so; try again calmly.
        tokio::time::sleep(AGAIN).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_and_taken_when_it_is_free() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let (board, stop) = (Board::default(), CancellationToken::new());
        let mut holder = Some(holder);
        let bind = async || {
            let bound = TcpListener::bind(address).await;
            // The second try finds it free.
            if holder.take().is_none() {
                assert_eq!(board.conditions()[0].kind, Kind::PortInUse);
            }
            bound
        };
        let (source, kind) = (Source::Listener, Kind::PortInUse);
        let bound = patiently(&board, &stop, source, kind, "port 1", bind).await;
        assert!(bound.is_some());
        assert_eq!(board.conditions(), []);
        let (events, _) = board.events_from(0);
        assert!(events[0].message.starts_with("port-in-use: "), "{events:?}");

        stop.cancel();
        let never = async || Err::<(), _>(std::io::Error::from(std::io::ErrorKind::AddrInUse));
        let ended = patiently(&board, &stop, source, kind, "port 1", never).await;
        assert!(ended.is_none(), "an order to stop is obeyed");
    }
}
