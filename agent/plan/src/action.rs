//! The whole vocabulary of effects. Executing one that is already so succeeds.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;

use crate::files::RenderedFile;
use crate::membership::{MemberId, Membership};
use crate::observed::Route;
use crate::order::Source;
use crate::render::Leaf;
use crate::serving::shown;
use crate::turn::{Turn, TurnSeen, renews};

/// One effect on the machine or its cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Replace a file as a whole, durably.
    WriteFile {
        /// Path, mode and content; secret content is redacted when shown.
        file: RenderedFile,
    },
    /// Remove a file that is not wanted, or not now.
    RemoveFile {
        /// Absolute path.
        path: String,
    },
    /// Set the kernel's hostname.
    SetHostname {
        /// The name.
        name: String,
    },
    /// Make a key and have its certificate signed.
    IssueLeaf {
        /// What and where to.
        leaf: Box<Leaf>,
        /// Why a new one is needed.
        why: String,
    },
    /// Have systemd read its unit files again.
    ReloadManager,
    /// Start a unit, or restart it with new inputs, and follow the job.
    RestartUnit {
        /// Full name, such as "kubelet.service".
        unit: String,
        /// Digest of what the unit reads; noted once the job is done.
        inputs: String,
    },
    /// Have a running unit read its configuration again.
    ReloadUnit {
        /// Full name.
        unit: String,
        /// Digest of what the unit reads.
        inputs: String,
    },
    /// Clear a unit's failed state and start it.
    StartUnit {
        /// Full name.
        unit: String,
        /// Digest of what the unit reads.
        inputs: String,
    },
    /// Stop a unit that an earlier document wanted.
    StopUnit {
        /// Full name.
        unit: String,
    },
    /// Keep where control planes are, for a boot in which none can be asked.
    KeepControlPlanes {
        /// Their nodes' own addresses, sorted.
        addresses: Vec<IpAddr>,
    },
    /// Server-side apply, in order.
    ApplyObjects {
        /// Whole objects.
        #[serde(serialize_with = "names_only")]
        objects: Vec<Value>,
        /// Noted once all are applied.
        digest: String,
    },
    /// Set labels, annotations and taints of this machine's node.
    MarkNode {
        /// The node's name.
        name: String,
        /// Labels to set.
        labels: Vec<(String, String)>,
        /// Taints to have: key, value, effect.
        taints: Vec<(String, String, String)>,
    },
    /// Give a node its pod subnets before the cluster has a controller manager that does.
    AssignPodCidrs {
        /// The node's name.
        name: String,
        /// One per family; the lowest that nobody has, as the controller manager would choose.
        cidrs: Vec<IpNet>,
    },
    /// Change the kernel's routes to other nodes' pods.
    SetRoutes {
        /// To make, or to point elsewhere.
        add: Vec<Route>,
        /// To take away.
        remove: Vec<Route>,
    },
    /// Let pods be scheduled to this machine's node again.
    UncordonNode {
        /// The node's name.
        name: String,
    },
    /// Approve a kubelet's request for the certificate that it serves with.
    ApproveServing {
        /// The request's name.
        name: String,
        /// Which of that name: never a later one.
        uid: String,
        /// Whose it is.
        node: String,
    },
    /// Say once why such requests are left alone.
    TellServing {
        /// The name of one of them.
        name: String,
        /// Who made it, as it is shown.
        whom: String,
        /// Why.
        why: String,
    },
    /// Have this machine added to etcd's cluster as a learner, and keep the membership.
    JoinEtcd {
        /// The member's name.
        name: String,
        /// Where its peers will reach it.
        peer_url: String,
    },
    /// Keep what is known of this machine's membership.
    KeepMembership {
        /// The record.
        membership: Membership,
    },
    /// Give a learner that has caught up its vote.
    PromoteMember {
        /// Which.
        id: MemberId,
        /// Its name.
        name: String,
    },
    /// Tell etcd's cluster where a member with a vote is reached from now on.
    UpdateMember {
        /// Which.
        id: MemberId,
        /// Its name.
        name: String,
        /// Where its peers will reach it.
        peer_url: String,
    },
    /// Take a member out of etcd's cluster.
    RemoveMember {
        /// Which.
        id: MemberId,
        /// Its name, or where it was expected.
        name: String,
        /// Why.
        why: String,
    },
    /// Take the turn to be away, or make it last from now on.
    TakeTurn {
        /// Whose, and for what.
        turn: Turn,
        /// What was seen in its place: this machine's own, or one of who is no member any more.
        over: Option<TurnSeen>,
    },
    /// Give this machine's turn back.
    GiveTurn {
        /// As it was seen: never a later one.
        seen: TurnSeen,
    },
    /// Have this machine's member hand over and leave its cluster.
    LeaveEtcd {
        /// Which.
        id: MemberId,
        /// Its name.
        name: String,
    },
    /// Make data of a new cluster, with this machine as its only member, beside what is there.
    RestoreEtcd {
        /// By which order; the new cluster's token.
        order: String,
        /// Of what.
        from: Source,
        /// The member's name.
        name: String,
        /// Where its peers will reach it.
        peer_url: String,
    },
    /// Put what was made in the place of etcd's data, which is kept aside, and forget the membership.
    PlaceEtcd {
        /// By which order.
        order: String,
    },
    /// Forget the membership and keep etcd's data aside.
    SetEtcdAside {
        /// By which order.
        order: String,
    },
    /// Note in the ledger that an order about etcd was carried out.
    FinishEtcdOrder {
        /// Which.
        order: String,
    },
    /// Note in the ledger that the ordered cluster exists.
    FinishBootstrap,
}

impl Action {
    /// Kind and object, for events and errors.
    pub fn object(&self) -> String {
        match self {
            Self::WriteFile { file } => file.path.clone(),
            Self::RemoveFile { path } => path.clone(),
            Self::SetHostname { name } => name.clone(),
            Self::IssueLeaf { leaf, .. } => leaf.name.to_owned(),
            Self::ReloadManager => "systemd".to_owned(),
            Self::RestartUnit { unit, .. }
            | Self::ReloadUnit { unit, .. }
            | Self::StartUnit { unit, .. }
            | Self::StopUnit { unit } => unit.clone(),
            Self::KeepControlPlanes { addresses } => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                format!("control planes {}", addresses.join(", "))
            }
            Self::ApplyObjects { objects, .. } => format!("{} objects", objects.len()),
            Self::MarkNode { name, .. }
            | Self::AssignPodCidrs { name, .. }
            | Self::UncordonNode { name } => format!("node {name}"),
            Self::SetRoutes { add, remove } => {
                format!("routes to {} nodes' pods", add.len().max(remove.len()))
            }
            Self::ApproveServing { name, .. } | Self::TellServing { name, .. } => {
                format!("certificate request {}", shown(name))
            }
            Self::JoinEtcd { name, .. } => format!("etcd member {name}"),
            Self::KeepMembership { membership } => format!("etcd member {}", membership.id),
            Self::PromoteMember { id, name } | Self::RemoveMember { id, name, .. } => {
                format!("etcd member {name} ({id})")
            }
            Self::LeaveEtcd { id, name } | Self::UpdateMember { id, name, .. } => {
                format!("etcd member {name} ({id})")
            }
            Self::TakeTurn { .. } | Self::GiveTurn { .. } => "the turn".to_owned(),
            Self::RestoreEtcd { name, .. } => format!("etcd member {name}"),
            Self::PlaceEtcd { .. } | Self::SetEtcdAside { .. } => "etcd's data".to_owned(),
            Self::FinishEtcdOrder { order } => order.clone(),
            Self::FinishBootstrap => "bootstrap order".to_owned(),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = self.object();
        match self {
            Self::WriteFile { .. } => write!(f, "write {object}"),
            Self::RemoveFile { .. } => write!(f, "remove {object}"),
            Self::SetHostname { .. } => write!(f, "set hostname {object}"),
            Self::IssueLeaf { why, .. } => write!(f, "issue {object}: {why}"),
            Self::ReloadManager => write!(f, "reload {object}"),
            Self::RestartUnit { .. } => write!(f, "restart {object}"),
            Self::ReloadUnit { .. } => write!(f, "reload {object}"),
            Self::StartUnit { .. } => write!(f, "start {object}"),
            Self::StopUnit { .. } => write!(f, "stop {object}"),
            Self::KeepControlPlanes { .. } => write!(f, "remember {object}"),
            Self::ApplyObjects { .. } => write!(f, "apply {object}"),
            Self::MarkNode { .. } => write!(f, "mark {object}"),
            Self::AssignPodCidrs { .. } => write!(f, "assign pod subnets to {object}"),
            Self::SetRoutes { .. } => write!(f, "set {object}"),
            Self::UncordonNode { .. } => write!(f, "uncordon {object}"),
            Self::ApproveServing { node, .. } => {
                write!(f, "approve {object}: node {node} serves with it")
            }
            Self::TellServing { whom, why, .. } => {
                write!(f, "leave {object} of {whom} alone: {why}")
            }
            Self::JoinEtcd { .. } => write!(f, "add {object} as a learner"),
            Self::KeepMembership { membership } => {
                let vote = if membership.voter {
                    "a voter"
                } else {
                    "a learner"
                };
                write!(f, "remember {object} as {vote}")
            }
            Self::PromoteMember { .. } => write!(f, "promote {object}"),
            Self::UpdateMember { peer_url, .. } => write!(f, "list {object} at {peer_url}"),
            Self::RemoveMember { why, .. } => write!(f, "remove {object}: {why}"),
            Self::TakeTurn { turn, over } if renews(turn, over.as_ref()) => {
                write!(f, "keep {object}, {}", turn.purpose)
            }
            Self::TakeTurn { turn, over } => {
                write!(f, "take {object}, {}", turn.purpose)?;
                match over {
                    Some(seen) => write!(f, ": {} is no member any more", seen.turn.holder),
                    None => Ok(()),
                }
            }
            Self::GiveTurn { .. } => write!(f, "give {object} back"),
            Self::LeaveEtcd { .. } => write!(f, "take {object} out, by order"),
            Self::RestoreEtcd { order, from, .. } => {
                let from = match from {
                    Source::Snapshot { .. } => "a snapshot",
                    Source::Data => "its own data",
                };
                write!(f, "restore {object} from {from} ({order})")
            }
            Self::PlaceEtcd { order } => {
                write!(
                    f,
                    "put what was restored in the place of {object} ({order})"
                )
            }
            Self::SetEtcdAside { order } => write!(f, "set {object} aside ({order})"),
            Self::FinishEtcdOrder { .. } | Self::FinishBootstrap => write!(f, "finish {object}"),
        }
    }
}

/// "Kind namespace/name" of an object.
pub fn object_name(object: &Value) -> String {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
    };
    match text("/metadata/namespace") {
        "" => format!("{} {}", text("/kind"), text("/metadata/name")),
        namespace => format!("{} {namespace}/{}", text("/kind"), text("/metadata/name")),
    }
}

// Objects may hold a token: their names are enough to read a plan.
fn names_only<S: serde::Serializer>(objects: &[Value], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(objects.iter().map(object_name))
}
