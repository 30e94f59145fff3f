//! What the API has done to the machine directly: units and power.

mod etcd;
mod release;
mod retire;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use machine_config::MachineConfig;
use machine_plan::desired::ETCD;
use machine_plan::etcd_health::EtcdSeen;
use machine_plan::membership::{Member, MemberId};
use machine_plan::observed::Probe;
use machine_plan::recovery::Survey;
use machine_plan::turn::{Purpose, Turn};
use serde_json::Value;
use zbus_systemd::login1::ManagerProxy;

use crate::api::{self, ServiceState, TokenError, TokenSeen};
use crate::ledger::Ledger;
use crate::node::etcd::cluster::{self, Cluster};
use crate::node::kube::{Client, Kube, tokens};
use crate::node::systemd::Systemd;
use crate::node::{self, drain, endpoint, files};
use crate::reconcile::Wake;
use crate::status::Board;
pub use release::take_back;

/// The units this agent looks after.
const SERVICES: [&str; 12] = [
    "containerd.service",
    ETCD,
    "haproxy.service",
    "keepalived.service",
    "kubelet.service",
    "machined-firewall.service",
    "machined-readyz.service",
    "machined.service",
    "systemd-journald.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
];

/// Those that only a node of Kubernetes runs.
const OF_NODES: [&str; 4] = [
    "containerd.service",
    "haproxy.service",
    "keepalived.service",
    "kubelet.service",
];

/// See [`api::Hands`].
pub struct Hands {
    /// Units.
    pub systemd: Systemd,
    /// Orders given before.
    pub ledger: Arc<Ledger>,
    /// Told how a drain goes.
    pub board: Arc<Board>,
    /// Tells the loop that a unit was touched.
    pub wake: Wake,
}

impl Hands {
    async fn state(&self, name: &str) -> Result<ServiceState, String> {
        match self.systemd.unit(name).await {
            Probe::Seen(unit) => Ok(ServiceState {
                name: name.to_owned(),
                active_state: unit.active_state,
                sub_state: unit.sub_state,
                result: unit.result,
                restarts: unit.restarts,
            }),
            Probe::Absent => Ok(ServiceState {
                name: name.to_owned(),
                ..ServiceState::default()
            }),
            Probe::Unreadable(why) => Err(format!("cannot read {name}: {why}")),
        }
    }

    // No API server of this machine runs yet: who answers at the endpoint is a peer.
    async fn nobody_has_begun(&self) -> Result<(), String> {
        let Some(entry) = self.ledger.current() else {
            return Ok(());
        };
        let config = &entry.bundle.config;
        let nobody_serves = async {
            match &entry.bundle.secrets {
                Some(secrets) if endpoint::answers(config, secrets).await => Err(format!(
                    "this cluster has begun already: its API server answers at {}, \
                     and a bootstrap here would make a second one",
                    config.control_plane_endpoint()
                )),
                _ => Ok(()),
            }
        };
        futures_util::try_join!(nobody_serves, self.nobody_named_has_begun(config)).map(drop)
    }

    /// The cluster's API, for what is done with tokens.
    fn token_client(&self, operation: &'static str, object: &str) -> Result<Client, TokenError> {
        let fail = |why: String| TokenError::Cluster {
            operation,
            object: object.to_owned(),
            why,
        };
        let entry = self.ledger.current();
        let entry = entry.ok_or_else(|| fail("there is no config".to_owned()))?;
        Kube::default().client(&node::access(&entry)).map_err(fail)
    }

    async fn login(&self) -> Result<ManagerProxy<'static>, String> {
        let manager = async { ManagerProxy::new(&self.systemd.connection().await?).await };
        manager
            .await
            .map_err(|e| format!("cannot reach logind: {e}"))
    }
}

impl api::Hands for Hands {
    fn services(&self) -> BoxFuture<'_, Result<Vec<ServiceState>, String>> {
        async {
            let states = SERVICES.iter().map(|name| self.state(name));
            futures_util::future::join_all(states)
                .await
                .into_iter()
                .collect()
        }
        .boxed()
    }

    fn restart(&self, service: String) -> BoxFuture<'_, Result<(), String>> {
        async move {
            if !SERVICES.contains(&service.as_str()) {
                let known = SERVICES.join(", ");
                return Err(format!(
                    "cannot restart {service}: the services here are {known}"
                ));
            }
            let entry = self.ledger.current();
            let node = entry.is_none_or(|entry| entry.bundle.config.role().has_node());
            if !node && OF_NODES.contains(&service.as_str()) {
                return Err(format!(
                    "cannot restart {service}: a machine of role etcd runs nothing of Kubernetes"
                ));
            }
            if service == ETCD {
                self.may_restart_etcd().await?;
            }
            let done = self
                .systemd
                .restart(&service)
                .await
                .map_err(|e| e.to_string());
            self.wake.wake();
            done
        }
        .boxed()
    }

    fn drain(&self, limit: Duration) -> BoxFuture<'_, ()> {
        async move {
            let Some(entry) = self.ledger.current() else {
                return;
            };
            self.release().await;
            // No pod is on a machine that is no node.
            if !entry.bundle.config.role().has_node() {
                return;
            }
            let name = entry.bundle.config.hostname().to_string();
            let kube = Kube::default();
            let access = node::access(&entry);
            let client = async { kube.client(&access) };
            let tell = |message: String| {
                self.board.emit("order", "drain", message);
            };
            drain::drain(client, &name, limit, &tell).await;
        }
        .boxed()
    }

    fn stay(&self) -> BoxFuture<'_, Result<(), String>> {
        async move {
            take_back();
            let Some(entry) = self.ledger.current() else {
                return Ok(());
            };
            if !entry.bundle.config.role().has_node() {
                return Ok(());
            }
            let name = entry.bundle.config.hostname().to_string();
            let kube = Kube::default();
            let client = kube.client(&node::access(&entry));
            let done = drain::call_off(client, &name).await;
            done.map_err(|e| api::chain(&e))
        }
        .boxed()
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, String>> {
        async { self.listed(self.voters()?).await }.boxed()
    }

    fn members_elsewhere(&self) -> BoxFuture<'_, Result<Vec<Member>, String>> {
        self.listed_elsewhere().boxed()
    }

    fn whose_turn(&self) -> BoxFuture<'_, Result<Option<Turn>, String>> {
        self.turn_of_anybody().boxed()
    }

    fn etcd(&self) -> BoxFuture<'_, Result<EtcdSeen, String>> {
        async { Ok(Cluster::default().look(&self.voters()?).await) }.boxed()
    }

    fn disarm(&self, id: MemberId, alarm: String) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let at = self.voters()?;
            Cluster::default().disarm(&at, (id, &alarm)).await
        }
        .boxed()
    }

    fn defragment(&self, member: Member) -> BoxFuture<'_, Result<(), String>> {
        async move { Cluster::default().defragment(&member).await }.boxed()
    }

    fn replace_leader(&self, member: Member) -> BoxFuture<'_, Result<Option<String>, String>> {
        async move {
            let ip = cluster::address(&member).ok_or("its address is not known")?;
            let url = member.peer_urls.first().map_or("", String::as_str);
            Cluster::default().forfeit(ip, url).await
        }
        .boxed()
    }

    fn survey(&self) -> BoxFuture<'_, Result<Survey, String>> {
        self.looked_over().boxed()
    }

    fn remove_member(&self, id: MemberId, name: String) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let removed = Cluster::default()
                .remove(&self.voters()?, (id, &name))
                .await;
            self.wake.wake();
            removed.map_err(|e| api::chain(&e))
        }
        .boxed()
    }

    fn forfeit(&self) -> BoxFuture<'_, Result<Option<String>, String>> {
        async {
            match self.own_member() {
                Some((own, own_url)) => Cluster::default().forfeit(own, &own_url).await,
                None => Ok(None),
            }
        }
        .boxed()
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<api::Snapshot, String>> {
        async { Cluster::default().snapshot(&self.voters()?).await }.boxed()
    }

    fn create_token(&self, id: String, secret: Value) -> BoxFuture<'_, Result<(), TokenError>> {
        async move {
            let client = self.token_client("make", &format!("token {id}"))?;
            tokens::create(&client, &id, &secret).await
        }
        .boxed()
    }

    fn tokens(&self) -> BoxFuture<'_, Result<Vec<TokenSeen>, TokenError>> {
        async { tokens::list(&self.token_client("list", "tokens")?).await }.boxed()
    }

    fn delete_token(&self, id: String) -> BoxFuture<'_, Result<(), TokenError>> {
        async move {
            let client = self.token_client("delete", &format!("token {id}"))?;
            tokens::delete(&client, &id).await
        }
        .boxed()
    }

    fn may_go_down(&self, how: Purpose) -> BoxFuture<'_, Result<(), String>> {
        self.may_be_away(how).boxed()
    }

    fn controllers_end(&self) -> BoxFuture<'_, Result<(), String>> {
        self.end_of_controllers().boxed()
    }

    fn api_server_ends(&self) -> BoxFuture<'_, Result<(), String>> {
        self.end_of_api_server().boxed()
    }

    fn reboot(&self) -> BoxFuture<'_, Result<(), String>> {
        async {
            self.release().await;
            let manager = self.login().await?;
            manager
                .reboot(false)
                .await
                .map_err(|e| format!("cannot reboot this machine: {e}"))
        }
        .boxed()
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), String>> {
        async {
            self.release().await;
            let manager = self.login().await?;
            manager
                .power_off(false)
                .await
                .map_err(|e| format!("cannot power off this machine: {e}"))
        }
        .boxed()
    }

    fn may_bootstrap(&self) -> BoxFuture<'_, Result<(), String>> {
        async {
            // The same order again is no second one.
            if matches!(self.ledger.bootstrap_order(), Ok(Some(_))) {
                return Ok(());
            }
            if let Ok(Some(kept)) = self.ledger.membership() {
                return Err(format!(
                    "this machine is member {} of a cluster's etcd: bring another member up, and it \
                     joins again",
                    kept.id
                ));
            }
            let entry = self.ledger.current();
            let config = entry.as_ref().map(|entry| &entry.bundle.config);
            if config.is_some_and(MachineConfig::etcd_is_elsewhere) {
                // What is in its own folder is not its cluster's.
                return self.nobody_has_begun().await;
            }
            let node = config.is_none_or(|config| config.role().has_node());
            match files::has_etcd_member() {
                Probe::Absent if !node => self.no_member_has_begun().await,
                Probe::Absent => self.nobody_has_begun().await,
                Probe::Seen(()) => Err("this machine's etcd has data already: \
                    it belongs to a cluster, and a bootstrap would make a second one"
                    .to_owned()),
                Probe::Unreadable(why) => Err(format!(
                    "cannot tell whether this machine's etcd has data: {why}"
                )),
            }
        }
        .boxed()
    }
}
