//! The machine API's own certificate: made in memory, never written, renewed at
//! half life or when what it should say changes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use machine_pki::leaf::Lifetime;
use machine_pki::{AuthorityKind, LeafRequest};
use machine_plan::render::machine_api_leaf;

use crate::api::{Credentials, Front};
use crate::clock;
use crate::ledger::{Entry, Ledger};
use crate::node::{certs, facts};
use crate::reconcile::Wake;
use crate::status::now_ms;

/// How often addresses are compared. Reading them costs some ten microseconds.
const LOOK: Duration = Duration::from_secs(30);

/// What the API shows, and what it was made from.
pub struct Identity {
    /// For the server.
    pub front: Arc<Front>,
    request: LeafRequest,
    authority: String,
    made_ms: i64,
}

impl Identity {
    /// A first certificate.
    pub fn new(entry: &Entry) -> anyhow::Result<Self> {
        let (request, authority) = wanted(entry)?;
        let front = Arc::new(Front::new(&issue(entry, &request)?)?);
        Ok(Self {
            front,
            request,
            authority,
            made_ms: now_ms(),
        })
    }

    /// Keeps it right for as long as the task lives.
    pub async fn keep(mut self, ledger: Arc<Ledger>, wake: Wake) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(entry) = ledger.current() else {
                continue;
            };
            match self.renew(&entry) {
                Ok(true) => {
                    tracing::info!("the machine API has a new certificate");
                    // New addresses concern other certificates too.
                    wake.wake();
                }
                Ok(false) => {}
                Err(e) => tracing::warn!("cannot renew the machine API's certificate: {e:#}"),
            }
        }
    }

    fn renew(&mut self, entry: &Entry) -> anyhow::Result<bool> {
        let (request, authority) = wanted(entry)?;
        let half_life = i64::try_from(Lifetime::MACHINE_API.as_millis() / 2).unwrap_or(i64::MAX);
        // By the clock that its readers have: set back, it would begin in their future.
        let due = clock::outdated(self.made_ms, now_ms(), half_life);
        if !due && request == self.request && authority == self.authority {
            return Ok(false);
        }
        self.front.replace(&issue(entry, &request)?)?;
        (self.request, self.authority, self.made_ms) = (request, authority, now_ms());
        Ok(true)
    }
}

fn wanted(entry: &Entry) -> anyhow::Result<(LeafRequest, String)> {
    let secrets = entry.bundle.secrets.as_ref();
    let secrets = secrets.ok_or_else(|| anyhow::anyhow!("the document in force has no secrets"))?;
    let request = machine_api_leaf(&entry.bundle.config, &facts::addresses());
    Ok((request, secrets.machine_ca.certificate.clone()))
}

fn issue(entry: &Entry, request: &LeafRequest) -> anyhow::Result<Credentials> {
    let secrets = entry.bundle.secrets.as_ref();
    let secrets = secrets.ok_or_else(|| anyhow::anyhow!("the document in force has no secrets"))?;
    let authority =
        certs::authority(secrets, AuthorityKind::Machine).map_err(anyhow::Error::msg)?;
    let issued = authority.issue(request, SystemTime::now())?;
    Ok(Credentials {
        certificate_pem: issued.certificate_pem,
        key: issued.key,
        client_authority_pem: Some(secrets.machine_ca.certificate.clone()),
    })
}
