use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::San;

/// What one control plane component gets beyond its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Component {
    /// Command line arguments; all defaults of the same name give way.
    pub extra_args: Vec<Arg>,
    /// Host paths mounted into its pod.
    pub extra_volumes: Vec<HostVolume>,
    /// Further names of the API server's certificate; empty for others.
    pub cert_sans: Vec<San>,
    /// Further names of etcd's server certificate; empty for others.
    pub server_cert_sans: Vec<San>,
    /// Further names of etcd's peer certificate; empty for others.
    pub peer_cert_sans: Vec<San>,
}

/// One command line argument, `--name=value`. A name may occur several times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arg {
    /// The flag without its dashes.
    pub name: String,
    /// The value, perhaps empty.
    pub value: String,
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}={}", self.name, self.value)
    }
}

/// A host path mounted into a component's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostVolume {
    /// The volume's name in the pod.
    pub name: String,
    /// The absolute path on the machine.
    pub host_path: String,
    /// The absolute path in the pod.
    pub mount_path: String,
    /// Whether the pod may only read it.
    pub read_only: bool,
    /// What must be at the host path; none means it is not checked.
    pub path_type: Option<PathType>,
}

/// What must be at a host path before the pod starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathType {
    /// A directory, made when it is missing.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file, made empty when it is missing.
    FileOrCreate,
    /// A file.
    File,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl PathType {
    /// Kubernetes' word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DirectoryOrCreate => "DirectoryOrCreate",
            Self::Directory => "Directory",
            Self::FileOrCreate => "FileOrCreate",
            Self::File => "File",
            Self::Socket => "Socket",
            Self::CharDevice => "CharDevice",
            Self::BlockDevice => "BlockDevice",
        }
    }
}

/// How pods reach each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkAddon {
    /// The built-in bridge, with routes between machines.
    Bridge,
    /// Nothing; someone else installs a network.
    None,
    /// These manifests (YAML, one or more documents each), applied with the cluster's own objects.
    Manifests(Vec<String>),
}
