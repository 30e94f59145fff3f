//! The machine as the reconciler sees it: the one seam between plans and
//! effects. Adapters below are dull: they look, or do one thing, and decide
//! nothing.

pub mod certs;
pub mod clock;
pub mod drain;
pub mod endpoint;
pub mod etcd;
pub mod facts;
pub mod files;
#[cfg(test)]
mod firewall;
pub mod kube;
pub mod kubelet;
pub mod pods;
mod probe;
mod reach;
pub mod retire;
pub mod room;
pub mod routes;
pub mod signer;
pub mod systemd;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use machine_config::Role;
use machine_plan::action::Action;
use machine_plan::desired::{Desired, OURS};
use machine_plan::facts::HostFacts;
use machine_plan::membership::Membership;
use machine_plan::observed::{Observed, Probe};

use crate::going::GoingDown;
use crate::ledger::{Entry, Ledger, OrderState};
use probe::{PROBE, if_so, limited, silent};
pub use reach::access;

/// Where this boot's notes are: what units were started with, what was applied.
const NOTES: &str = "/run/machined";

/// There while this machine is about to go down: it no longer holds what it shares.
pub const LEAVING: &str = "/run/machined/leaving";

/// Why an effect did not happen. Names the operation and the object.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A file could not be changed.
    #[error("cannot {operation} {path}: {source}")]
    File {
        /// In words.
        operation: &'static str,
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// systemd refused or did not answer.
    #[error("cannot {operation} {unit}: {why}")]
    Unit {
        /// In words.
        operation: &'static str,
        /// Full name.
        unit: String,
        /// Why.
        why: String,
    },
    /// A leaf could not be made.
    #[error("cannot issue {leaf}: {why}")]
    Leaf {
        /// Its name.
        leaf: String,
        /// Why.
        why: String,
    },
    /// The cluster's API refused or did not answer.
    #[error("cannot {operation} {object}: {why}")]
    Kube {
        /// In words.
        operation: &'static str,
        /// Kind and name.
        object: String,
        /// Why.
        why: String,
    },
    /// etcd's cluster refused or did not answer.
    #[error("cannot {operation} {object}: {why}")]
    Etcd {
        /// In words.
        operation: &'static str,
        /// Which member.
        object: String,
        /// Why.
        why: String,
    },
    /// The kernel refused a route.
    #[error("cannot set the route {object}: {why}")]
    Route {
        /// Which.
        object: String,
        /// Why.
        why: String,
    },
    /// The ledger could not be written.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
}

/// The real machine.
pub struct Node {
    systemd: systemd::Systemd,
    kube: Arc<kube::Kube>,
    leaves: certs::Seen,
    asked: Arc<kubelet::Asked>,
    ledger: Arc<Ledger>,
    /// The cluster's API where its endpoint leads: how a machine that is no member finds those
    /// that are.
    endpoint: Arc<kube::Kube>,
    elsewhere: reach::Elsewhere,
    etcd: etcd::cluster::Cluster,
    data: etcd::data::Data,
    going: GoingDown,
}

impl Node {
    /// Connects to the system bus. `asked`: what is known of a worker kubelet's certificate.
    /// `going`: whether the API has the machine go down.
    pub fn new(
        systemd: systemd::Systemd,
        ledger: Arc<Ledger>,
        asked: Arc<kubelet::Asked>,
        going: GoingDown,
    ) -> Self {
        let data = etcd::data::Data::default();
        if let Ok(order) = ledger.etcd_order() {
            let open = order.filter(|order| !order.done);
            data.tidy_up(open.as_ref().map(|order| order.id.as_str()));
        }
        Self {
            systemd,
            asked,
            kube: Arc::default(),
            leaves: certs::Seen::default(),
            ledger,
            endpoint: Arc::default(),
            elsewhere: reach::Elsewhere::default(),
            etcd: etcd::cluster::Cluster::default(),
            data,
            going,
        }
    }

    /// What the host says of itself, before anything is desired of it.
    pub fn facts(&self, entry: &Entry) -> HostFacts {
        HostFacts {
            control_planes: self.ledger.control_planes(),
            ..facts::look(&entry.bundle.config)
        }
    }

    /// One look: all probes at once, each with its own deadline.
    pub async fn observe(&self, entry: &Entry, desired: &Desired, facts: &HostFacts) -> Observed {
        let units = async {
            let names: Vec<&str> = desired.unit_names().collect();
            let listed = tokio::time::timeout(PROBE, self.systemd.units(&names)).await;
            let listed = listed.unwrap_or_else(|_| vec![Probe::Unreadable(silent()); names.len()]);
            let named = names.into_iter().zip(listed);
            named
                .map(|(name, seen)| (name.to_owned(), with_inputs(name, seen)))
                .collect::<BTreeMap<_, _>>()
        };
        let address = facts.node_ip;
        let role = desired.role;
        let api = if_so(role.is_control_plane(), self.own_api(entry));
        let certificate = self.asked.look(Path::new(kubelet::PKI), SystemTime::now());
        let order = self.ledger.bootstrap_order();
        let order_is = |state| matches!(&order, Ok(Some(order)) if order.state == state);
        let ordered = order_is(OrderState::Ordered);
        // Whether there is a cluster, where no member of etcd could tell.
        let unknown = desired.etcd_elsewhere && desired.control_planes.is_empty() && !ordered;
        let endpoint = async {
            match (role, &entry.bundle.secrets) {
                (Role::ControlPlane, Some(secrets)) if unknown => {
                    match endpoint::answers(&entry.bundle.config, secrets).await {
                        true => Probe::Seen(()),
                        false => Probe::Absent,
                    }
                }
                (Role::Worker, Some(secrets)) if certificate.seen().is_none() => {
                    match endpoint::answers(&entry.bundle.config, secrets).await {
                        true => {
                            self.asked.endpoint_answers();
                            Probe::Seen(())
                        }
                        false => Probe::Absent,
                    }
                }
                _ => Probe::Seen(()),
            }
        };
        // What is no node has nobody to ask about nodes.
        let nodes = role.has_node();
        let node = if_so(nodes, self.own_node(entry, &desired.hostname));
        let peers = if_so(nodes, self.other_nodes(entry, &desired.hostname));
        let (serving, serving_told) = self.kube.serving();
        let routes = limited(routes::look());
        let machines = if_so(unknown || ordered, etcd::listens(&desired.etcd_machines));
        let (etcd_order, restored, etcd_runs) = self.etcd_order();
        let etcd = async {
            let health = etcd::health(desired, address).await;
            let asked = self.members(entry, desired, address, &health);
            let asked = tokio::time::timeout(PROBE, asked).await;
            let asked = asked.unwrap_or_else(|_| etcd::cluster::Asked::silence(&silent()));
            (health, asked)
        };
        // Asked before and after whose turn it is: an order that begins or ends meanwhile counts.
        let going_down = self.going.is_so();
        let local = futures_util::future::join3(units, routes, etcd);
        let (local, api_server, endpoint, node, peers, etcd_listens) =
            futures_util::join!(local, api, endpoint, node, peers, machines);
        let (units, routes, (etcd_health, asked)) = local;
        let going_down = going_down || self.going.is_so();
        // After the members were listed: a member that began meanwhile is listed under its name, and
        // must not look as if its data were gone.
        let etcd_data = files::has_etcd_member();
        let membership = membership(&self.ledger);
        let wanted = desired.files().map(|f| f.path.clone());
        let ours = OURS.iter().flat_map(|shape| files::of_shape(shape));
        let paths: BTreeSet<String> = wanted.chain(ours).collect();
        Observed {
            hostname: facts::hostname(),
            boot: crate::boot::boot_id(),
            node_ip: match address.is_unspecified() {
                true => Probe::Absent,
                false => Probe::Seen(address),
            },
            addresses: facts.addresses.clone(),
            files: paths
                .into_iter()
                .map(|path| {
                    let seen = files::look(&path);
                    (path, seen)
                })
                .collect(),
            leaves: certs::look(&desired.leaves, &entry.bundle, &self.leaves),
            units,
            etcd_data,
            membership,
            members: asked.members,
            etcd_astray: asked.astray,
            turn: asked.turn,
            going_down,
            retire: self.going.retire(),
            etcd_order,
            restored,
            etcd_runs,
            bootstrap_ordered: ordered,
            bootstrap_done: order_is(OrderState::Done),
            bootstrap_since: match &order {
                Ok(Some(order)) => order.ordered_ms / 1000,
                _ => 0,
            },
            api_server,
            endpoint,
            kubelet_certificate: certificate.clone(),
            node,
            peers,
            serving,
            serving_told,
            routes,
            applied: files::note(&note("applied")),
            file_systems: room::look(),
            etcd_health,
            etcd_listens,
            static_pods: pods::restarts(&desired.hostname),
        }
    }

    /// Changes of nodes, until the API server ends the watch.
    pub async fn changes(
        &self,
        entry: &Entry,
    ) -> Result<impl futures_util::Stream<Item = ()> + use<>, String> {
        let name = entry.bundle.config.hostname().as_str();
        self.kube.changes(&self.access(entry), name).await
    }

    /// Carries out one action. "Already so" is success.
    pub async fn execute(&self, entry: &Entry, action: &Action) -> Result<(), NodeError> {
        match action {
            Action::WriteFile { file } => files::write(file),
            Action::RemoveFile { path } => files::remove(path),
            Action::SetHostname { name } => facts::set_hostname(name),
            Action::IssueLeaf { leaf, .. } => certs::issue(leaf, &entry.bundle, SystemTime::now()),
            Action::ReloadManager => self.systemd.reload_manager().await,
            // A note of before holds no more, here and below, before anything is done: by its words it could
            // be right again when what it says is not.
            Action::RestartUnit { unit, inputs } => {
                files::doubt_note(&unit_note(unit))?;
                self.systemd.restart(unit).await?;
                files::set_note(&unit_note(unit), inputs)
            }
            Action::ReloadUnit { unit, inputs } => {
                files::doubt_note(&unit_note(unit))?;
                self.systemd.reload(unit).await?;
                files::set_note(&unit_note(unit), inputs)
            }
            Action::StartUnit { unit, inputs } => {
                files::doubt_note(&unit_note(unit))?;
                self.systemd.start(unit).await?;
                files::set_note(&unit_note(unit), inputs)
            }
            Action::StopUnit { unit } => {
                self.systemd.stop(unit).await?;
                files::forget_note(&unit_note(unit))
            }
            Action::KeepControlPlanes { addresses } => {
                Ok(self.ledger.keep_control_planes(addresses)?)
            }
            Action::ApplyObjects { objects, digest } => {
                files::doubt_note(&note("applied"))?;
                self.kube.apply(&self.access(entry), objects).await?;
                files::set_note(&note("applied"), digest)
            }
            Action::MarkNode {
                name,
                labels,
                taints,
            } => {
                let (kube, at) = self.reach(entry);
                kube.mark(&at, name, labels, taints).await
            }
            Action::AssignPodCidrs { name, cidrs } => {
                let by = entry.bundle.config.hostname().as_str();
                let given = (name.as_str(), cidrs.as_slice());
                let access = self.access(entry);
                self.kube.assign_pod_cidrs(&access, given, by).await
            }
            Action::ApproveServing { .. } | Action::TellServing { .. } => {
                self.execute_serving(entry, action).await
            }
            Action::SetRoutes { add, remove } => routes::set(add, remove).await,
            Action::UncordonNode { name } => {
                let (kube, at) = self.reach(entry);
                drain::uncordon(kube.client(&at), name).await
            }
            Action::JoinEtcd { .. }
            | Action::PromoteMember { .. }
            | Action::UpdateMember { .. }
            | Action::TakeTurn { .. }
            | Action::GiveTurn { .. }
            | Action::RemoveMember { .. } => self.execute_on_etcd(entry, action).await,
            Action::LeaveEtcd { .. }
            | Action::RestoreEtcd { .. }
            | Action::PlaceEtcd { .. }
            | Action::SetEtcdAside { .. }
            | Action::FinishEtcdOrder { .. } => self.execute_order(entry, action).await,
            Action::KeepMembership { membership } => Ok(self.ledger.keep_membership(membership)?),
            Action::FinishBootstrap => Ok(self.ledger.finish_bootstrap()?),
        }
    }
}

fn membership(ledger: &Ledger) -> Probe<Membership> {
    match ledger.membership() {
        Ok(Some(kept)) => Probe::Seen(kept),
        Ok(None) => Probe::Absent,
        Err(error) => Probe::Unreadable(crate::api::chain(&error)),
    }
}

fn with_inputs(
    unit: &str,
    seen: Probe<machine_plan::observed::UnitSeen>,
) -> Probe<machine_plan::observed::UnitSeen> {
    match seen {
        Probe::Seen(seen) => Probe::Seen(machine_plan::observed::UnitSeen {
            inputs: files::note(&unit_note(unit)),
            ..seen
        }),
        other => other,
    }
}

fn note(name: &str) -> PathBuf {
    PathBuf::from(NOTES).join(name)
}

fn unit_note(unit: &str) -> PathBuf {
    note("units").join(unit)
}
