//! `import …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

/// What to import.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Turn kubeadm's documents into the config of one machine, and list what has no counterpart.
    ///
    /// Read are InitConfiguration, JoinConfiguration, ClusterConfiguration (v1beta1 to v1beta4) and
    /// KubeletConfiguration. What is left out of the config is listed on standard error, each with
    /// its place, why, and what to do instead.
    Kubeadm(Box<KubeadmArgs>),
}

/// What a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MachineRole {
    /// Runs etcd and the control plane.
    Controlplane,
    /// Runs workloads only.
    Worker,
}

/// `import kubeadm`.
#[derive(Debug, Args)]
pub struct KubeadmArgs {
    /// Files with kubeadm's documents; `-` is standard input. Together they are about one machine.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// The machine's name; without it nodeRegistration.name.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// What the machine is for; without it what an InitConfiguration or JoinConfiguration says.
    #[arg(long, value_name = "ROLE")]
    pub role: Option<MachineRole>,
    /// The cluster's name; without it clusterName.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where everyone reaches the Kubernetes API: HOST[:PORT]; without it controlPlaneEndpoint, or
    /// where kubeadm would look.
    #[arg(long, value_name = "ENDPOINT")]
    pub endpoint: Option<String>,
    /// The Kubernetes version; without it kubernetesVersion.
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Option<String>,
    /// embedded, or a registry prefix to take component images from; without it imageRepository if
    /// that is not kubeadm's default.
    #[arg(long, value_name = "SOURCE")]
    pub image: Option<String>,
    /// bridge (built in) or none. kubeadm installs no pod network.
    #[arg(long, value_name = "TYPE")]
    pub network_addon: Option<String>,
    /// The cluster's secrets; without it those in the folder, or new ones for a control plane.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secrets: Option<PathBuf>,
    /// The folder to write into; without it the cluster's name. `-` prints the config, without
    /// secrets.
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
    /// Replace a config that is there. Never replaces secrets.
    #[arg(long)]
    pub force: bool,
}
