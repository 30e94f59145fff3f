//! The machine API's own certificate: renewed at half life or when what it should
//! say changes. A machine that holds the authority's key makes it in memory and never writes it; a
//! worker asks a control plane machine.

mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use machine_config::{ClusterSecrets, MachineIdentity, Role};
use machine_pki::leaf::Lifetime;
use machine_pki::{AuthorityKind, LeafRequest};
use machine_plan::observed::Probe;
use machine_plan::render::machine_api_leaf;

use crate::api::{Credentials, Front};
use crate::clock;
use crate::ledger::{Entry, Ledger};
use crate::node::kubelet::{self, Asked};
use crate::node::{certs, facts, signer};
use crate::reconcile::Wake;
use crate::status::{Board, now_ms};

/// How often addresses are compared, and a worker that has no certificate of a
/// control plane's asks again. Reading addresses costs some ten microseconds.
const LOOK: Duration = Duration::from_secs(30);

/// Likewise, while kubelet cannot join without it.
const SOON: Duration = Duration::from_secs(5);

/// What the API shows, and what it was made from.
pub struct Identity {
    /// For the server.
    pub front: Arc<Front>,
    basis: Basis,
    /// When the certificate shown was signed, in unix milliseconds; never yet for a worker that shows
    /// what it was enrolled with.
    signed: Option<i64>,
    /// Where a worker keeps what it proves itself by.
    kept: PathBuf,
    /// What its kubelet waits for.
    asked: Arc<Asked>,
}

#[derive(PartialEq)]
struct Basis {
    request: LeafRequest,
    authority: String,
    /// What a worker was enrolled with.
    enrolled: Option<MachineIdentity>,
}

impl Identity {
    /// A first certificate. `state`: the agent's folder.
    pub fn new(
        entry: &Entry,
        state: &Path,
        asked: Arc<Asked>,
        board: Arc<Board>,
    ) -> anyhow::Result<Self> {
        let basis = Basis::of(entry)?;
        let kept = state.join("identity.pem");
        let (credentials, signed) = match entry.bundle.config.role().holds_keys() {
            true => (issue(entry, &basis.request)?, Some(now_ms())),
            false => (worker::first(entry, &kept)?, None),
        };
        Ok(Self {
            front: Arc::new(Front::new(&credentials, board)?),
            basis,
            signed,
            kept,
            asked,
        })
    }

    /// Keeps it right for as long as the task lives.
    pub async fn keep(mut self, ledger: Arc<Ledger>, board: Arc<Board>, wake: Wake) {
        let mut told = String::new();
        loop {
            if let Some(entry) = ledger.current() {
                match self.renew(&entry).await {
                    Ok(true) => {
                        tracing::info!("the machine API has a new certificate");
                        told.clear();
                        // New addresses concern other certificates too.
                        wake.wake();
                    }
                    Ok(false) => {}
                    Err(e) => {
                        let why = format!("cannot renew the machine API's certificate: {e:#}");
                        if why != told {
                            board.emit("condition", "machine API", why.clone());
                            told = why;
                        }
                    }
                }
            }
            let early = match ledger.current() {
                Some(entry) if waits(&entry) => self.join(&entry, &wake).await,
                _ => false,
            };
            tokio::time::sleep(if early { SOON } else { LOOK }).await;
        }
    }

    // Returns whether to ask again soon: nobody answers yet, or it is too early.
    async fn join(&self, entry: &Entry, wake: &Wake) -> bool {
        let (begun, folder) = (Instant::now(), Path::new(kubelet::PKI));
        let host = entry.bundle.config.control_plane_endpoint().host();
        let at = (host, machined_proto::PORT);
        let refused = match worker::ask_for_kubelet(entry, &self.kept, at, folder).await {
            Ok(()) => {
                tracing::info!("kubelet has a certificate signed by {host}");
                false
            }
            Err(e) if signer::too_early(&e) => return true,
            Err(e) => {
                self.asked.refused(begun, format!("{e:#}"));
                true
            }
        };
        wake.wake();
        refused && self.asked.look(folder, SystemTime::now()) == Probe::Absent
    }

    async fn renew(&mut self, entry: &Entry) -> anyhow::Result<bool> {
        let basis = Basis::of(entry)?;
        let half_life = i64::try_from(Lifetime::MACHINE_API.as_millis() / 2).unwrap_or(i64::MAX);
        // By the clock that its readers have: set back, it would begin in their future.
        let young = |signed: i64| !clock::outdated(signed, now_ms(), half_life);
        if self.signed.is_some_and(young) && basis == self.basis {
            return Ok(false);
        }
        let credentials = if entry.bundle.config.role().holds_keys() {
            issue(entry, &basis.request)?
        } else {
            if basis != self.basis {
                // Another authority's clients are let in at once, whether or not
                // a control plane machine answers.
                self.front.replace(&worker::first(entry, &self.kept)?)?;
                self.signed = None;
                self.basis = Basis::of(entry)?;
            }
            let host = entry.bundle.config.control_plane_endpoint().host();
            worker::ask(entry, &self.kept, (host, machined_proto::PORT)).await?
        };
        self.front.replace(&credentials)?;
        (self.basis, self.signed) = (basis, Some(now_ms()));
        Ok(true)
    }
}

impl Basis {
    fn of(entry: &Entry) -> anyhow::Result<Self> {
        let secrets = secrets(entry)?;
        Ok(Self {
            request: machine_api_leaf(&entry.bundle.config, &facts::addresses()),
            authority: secrets.machine_ca.certificate.clone(),
            enrolled: secrets.machine_identity.clone(),
        })
    }
}

// Whether this is a worker whose kubelet has no certificate.
fn waits(entry: &Entry) -> bool {
    entry.bundle.config.role() == Role::Worker
        && !kubelet::has_certificate(Path::new(kubelet::PKI), SystemTime::now())
}

fn secrets(entry: &Entry) -> anyhow::Result<&ClusterSecrets> {
    let secrets = entry.bundle.secrets.as_ref();
    secrets.ok_or_else(|| anyhow::anyhow!("the document in force has no secrets"))
}

fn issue(entry: &Entry, request: &LeafRequest) -> anyhow::Result<Credentials> {
    let secrets = secrets(entry)?;
    let authority =
        certs::authority(secrets, AuthorityKind::Machine).map_err(anyhow::Error::msg)?;
    let issued = authority.issue(request, SystemTime::now())?;
    Ok(credentials(secrets, issued.certificate_pem, issued.key))
}

fn credentials(
    secrets: &ClusterSecrets,
    certificate_pem: String,
    key: machine_pki::Secret,
) -> Credentials {
    Credentials {
        certificate_pem,
        key,
        client_authority_pem: Some(secrets.machine_ca.certificate.clone()),
    }
}
