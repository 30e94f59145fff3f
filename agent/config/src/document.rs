//! The documents as they are written, version 1. The comments here are the reference that users
//! read: units, formats and defaults belong in them.
//!
//! Nothing here is checked beyond its shape; [`crate::machine`] holds the rules.

mod cluster;
mod machine;
mod secrets;

use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use cluster::*;
pub(crate) use machine::*;
pub(crate) use secrets::*;

/// The `apiVersion` of every document this build reads.
pub(crate) const API_VERSION: &str = "machined/v1";
/// The `kind` of the document without secrets.
pub(crate) const MACHINE_CONFIG: &str = "MachineConfig";
/// The `kind` of the document with them.
pub(crate) const CLUSTER_SECRETS: &str = "ClusterSecrets";

/// Everything one machine should be, without secrets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "MachineConfig")]
pub(crate) struct MachineDocument {
    /// Always `machined/v1`.
    #[schemars(extend("const" = API_VERSION))]
    #[allow(dead_code, reason = "judged before the shape is")]
    pub(crate) api_version: String,
    /// Always `MachineConfig`.
    #[schemars(extend("const" = MACHINE_CONFIG))]
    #[allow(dead_code, reason = "judged before the shape is")]
    pub(crate) kind: String,
    /// What is this machine's own.
    pub(crate) machine: MachineSection,
    /// What all machines of the cluster share.
    pub(crate) cluster: ClusterSection,
}
