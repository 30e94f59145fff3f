//! What people write to say what a machine should be, and its only valid form.
//!
//! [`read`] is the only way in: it takes the bytes of a document stream and gives either a
//! [`Bundle`] that needs no further checking, or every problem at once, each with its line and
//! column.
//!
//! Inside, an input goes through four rooms: `yaml` (text to trees that know where everything was
//! written), `structure` (trees against the JSON Schema of [`json_schema`], which the serde types
//! in `document` give), `rules` (what values mean, alone and together) and `machine` (the valid
//! form).

mod bundle;
mod document;
pub mod generate;
pub mod import;
mod machine;
mod path;
mod problem;
mod read;
mod reference;
mod report;
mod rules;
mod scalar;
mod schema;
mod secrets;
mod stream;
mod structure;
mod suggest;
pub mod types;
mod warnings;
mod write;
mod yaml;

pub use bundle::Bundle;
pub use ipnet::IpNet;
pub use machine::MachineConfig;
pub use problem::{Fault, Problem, Problems};
pub use read::{LARGEST, read, read_secrets};
pub use reference::reference_markdown;
pub use schema::json_schema;
pub use secrets::{
    CaPair, ClusterSecrets, EtcdClient, MACHINE_GROUP, MachineIdentity, ServiceAccount,
};
pub use types::{
    Arg, Cidr, Component, ComponentSource, Containerd, EMBEDDED_IMAGE, Endpoint, EtcdRunAs,
    Firewall, HostVolume, Hostname, Ingress, Interface, InterfaceSelector, Kubelet,
    KubernetesVersion, Mirror, Network, NetworkAddon, PathType, Role, Route, San, Taint,
    TaintEffect, Transport, VirtualIp,
};
pub use warnings::{members as members_warning, warnings};
