//! systemd over D-Bus: unit state, jobs and their results.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::select;
use machine_plan::observed::{Probe, UnitSeen};
use tokio::sync::Mutex;
use zbus::{MatchRule, Message, MessageStream, Variant};
use zbus_systemd::systemd1::{ManagerProxy, ServiceProxy};

use super::NodeError;

/// What the manager lists of a unit.
struct Listed {
    name: String,
    active: String,
    sub: String,
    path: zbus::OwnedObjectPath,
}

/// The longest a start job may take: systemd's own default is 90 s, and it
/// reports the job's result itself.
const JOB: Duration = Duration::from_secs(180);

/// Below this are the objects of units.
const UNITS: &str = "/org/freedesktop/systemd1/unit";

/// The longest that connecting to the bus may take.
const CONNECT: Duration = Duration::from_secs(10);

/// The manager, over a connection that is made when it is needed and made anew
/// when it was lost: the bus comes up beside us and may go away.
#[derive(Clone)]
pub struct Systemd {
    connection: Arc<Mutex<Option<zbus::Connection>>>,
    patience: Duration,
}

impl Default for Systemd {
    fn default() -> Self {
        Self {
            connection: Arc::default(),
            patience: JOB,
        }
    }
}

impl Systemd {
    /// On an open connection; tests bring their own.
    #[cfg(test)]
    pub async fn on(connection: zbus::Connection) -> zbus::Result<Self> {
        ManagerProxy::new(&connection).await?.subscribe().await?;
        Ok(Self {
            connection: Arc::new(Mutex::new(Some(connection))),
            patience: JOB,
        })
    }

    /// The connection; a lost one is replaced.
    pub async fn connection(&self) -> zbus::Result<zbus::Connection> {
        let mut slot = self.connection.lock().await;
        if let Some(open) = slot.as_ref().filter(|c| !c.is_closed()) {
            return Ok(open.clone());
        }
        *slot = None;
        let connect = async {
            let connection = zbus::Connection::system().await?;
            // Without it the manager sends no signals.
            ManagerProxy::new(&connection).await?.subscribe().await?;
            Ok(connection)
        };
        let connected = tokio::time::timeout(CONNECT, connect).await;
        let connection = connected.unwrap_or_else(|_| {
            let silent = format!("the system bus is silent for {} s", CONNECT.as_secs());
            Err(zbus::Error::Failure(silent))
        })?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// The state of one unit.
    pub async fn unit(&self, name: &str) -> Probe<UnitSeen> {
        let seen = self.units(&[name]).await.pop();
        seen.unwrap_or(Probe::Absent)
    }

    /// The states of units, in their order. One call for all: each costs the manager, the bus and us a
    /// turn on the processor, which is most of what a look costs.
    pub async fn units(&self, names: &[&str]) -> Vec<Probe<UnitSeen>> {
        let listed = match self.list(names).await {
            Ok(listed) => listed,
            Err(e) => return vec![Probe::Unreadable(e.to_string()); names.len()],
        };
        join_all(names.iter().map(|name| async {
            match listed.iter().find(|listed| listed.name == **name) {
                None => Probe::Absent,
                Some(listed) => match self.read(listed).await {
                    Ok(seen) => Probe::Seen(seen),
                    Err(e) => Probe::Unreadable(e.to_string()),
                },
            }
        }))
        .await
    }

    // What systemd does not know is left out.
    async fn list(&self, names: &[&str]) -> zbus::Result<Vec<Listed>> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let units = self.manager().await?.list_units_by_names(names).await?;
        let known = units.into_iter().filter(|unit| unit.2 != "not-found");
        let listed = known.map(|(name, _, _, active, sub, _, path, ..)| Listed {
            name,
            active,
            sub,
            path,
        });
        Ok(listed.collect())
    }

    async fn read(&self, listed: &Listed) -> zbus::Result<UnitSeen> {
        let service = ServiceProxy::builder(&self.connection().await?)
            .path(listed.path.clone())
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        // One that runs has no result yet; how often it was started again tells that it is not well.
        let (result, exit_status) = match listed.active.as_str() {
            "active" => (String::from("success"), 0),
            _ => (service.result().await?, service.exec_main_status().await?),
        };
        Ok(UnitSeen {
            active_state: listed.active.clone(),
            sub_state: listed.sub.clone(),
            result,
            exit_status,
            restarts: service.n_restarts().await?,
            inputs: None,
        })
    }

    /// Has systemd read its unit files again.
    pub async fn reload_manager(&self) -> Result<(), NodeError> {
        let reload = async { self.manager().await?.reload().await };
        reload
            .await
            .map_err(|e| error("reload", "systemd", e.to_string()))
    }

    /// Clears a failed state and starts a unit.
    pub async fn start(&self, unit: &str) -> Result<(), NodeError> {
        if let Ok(manager) = self.manager().await {
            // Fails for a unit that has not failed; the start says the rest.
            let _ = manager.reset_failed_unit(unit.to_owned()).await;
        }
        self.job("start", unit).await
    }

    /// Starts or restarts a unit.
    pub async fn restart(&self, unit: &str) -> Result<(), NodeError> {
        self.job("restart", unit).await
    }

    /// Reloads a unit, or starts it if it does not run.
    pub async fn reload(&self, unit: &str) -> Result<(), NodeError> {
        self.job("reload", unit).await
    }

    /// Stops a unit; one that does not run is stopped.
    pub async fn stop(&self, unit: &str) -> Result<(), NodeError> {
        self.job("stop", unit).await
    }

    /// The names of units whose state may matter now: those whose job has ended,
    /// and those that failed, which no job announces. Ends with the connection.
    pub async fn changes(&self) -> zbus::Result<impl futures_util::Stream<Item = String> + use<>> {
        let jobs = self.manager().await?.receive_job_removed().await?;
        let ended = jobs.filter_map(|signal| async move { Some(signal.args().ok()?.unit.clone()) });
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .path_namespace(UNITS)
            .arg(0, "org.freedesktop.systemd1.Unit")
            .build()?;
        let properties =
            MessageStream::for_match_rule(rule, &self.connection().await?, None).await?;
        let failed = properties.filter_map(|message| async move { failed_unit(&message.ok()?) });
        Ok(select(ended.boxed(), failed.boxed()))
    }

    async fn job(&self, operation: &'static str, unit: &str) -> Result<(), NodeError> {
        let fail = |why: String| error(operation, unit, why);
        let queued = async {
            let manager = self.manager().await?;
            // Listened for before the job exists: a quick one may be gone before
            // the call returns.
            let finished = manager.receive_job_removed().await?;
            let (name, mode) = (unit.to_owned(), "replace".to_owned());
            let job = match operation {
                "restart" => manager.restart_unit(name, mode).await?,
                "stop" => manager.stop_unit(name, mode).await?,
                "reload" => manager.reload_or_restart_unit(name, mode).await?,
                _ => manager.start_unit(name, mode).await?,
            };
            Ok::<_, zbus::Error>((job, finished))
        };
        let (job, mut finished) = queued.await.map_err(|e| fail(e.to_string()))?;
        let result = tokio::time::timeout(self.patience, async {
            while let Some(signal) = finished.next().await {
                if let Ok(args) = signal.args()
                    && args.job == job
                {
                    return Some(args.result.clone());
                }
            }
            None
        })
        .await;
        match result {
            Ok(Some(result)) if result == "done" => Ok(()),
            Ok(Some(result)) => Err(fail(format!("the job's result is {result}"))),
            Ok(None) => Err(fail("the bus went away before the job ended".to_owned())),
            Err(_) => Err(fail(format!(
                "the job did not end within {} s",
                self.patience.as_secs()
            ))),
        }
    }

    async fn manager(&self) -> zbus::Result<ManagerProxy<'static>> {
        ManagerProxy::builder(&self.connection().await?)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
    }
}

fn error(operation: &'static str, unit: &str, why: String) -> NodeError {
    NodeError::Unit {
        operation,
        unit: unit.to_owned(),
        why,
    }
}

// Units change all the time; only a failure is news that no job's end brings.
fn failed_unit(message: &Message) -> Option<String> {
    let body = message.body();
    let (_, changed, _): (
        &str,
        std::collections::HashMap<&str, Variant<'_>>,
        Vec<&str>,
    ) = body.deserialize().ok()?;
    let state: &str = changed.get("ActiveState")?.downcast_ref().ok()?;
    let header = message.header();
    let label = header
        .path()?
        .as_str()
        .strip_prefix(UNITS)?
        .strip_prefix('/')?;
    (state == "failed").then(|| unit_name(label)).flatten()
}

// In an object's path every byte but letters and digits is written as `_` and
// two hexadecimal digits.
fn unit_name(label: &str) -> Option<String> {
    let mut name = Vec::with_capacity(label.len());
    let mut rest = label.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'_' {
            name.push(*first);
            continue;
        }
        let (code, after) = rest.split_at_checked(2)?;
        name.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
pub(crate) mod tests;
