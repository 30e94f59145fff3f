//! `gen …`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// What to make.
#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// Make a new cluster's secrets: authorities, keys and tokens. Keep them safe.
    Secrets(SecretsArgs),
    /// Make the configs of a cluster's machines, its secrets and an administrator's context.
    Config(Box<ConfigArgs>),
    /// Make the bundle that lets a machine be enrolled without a code. It goes to the machine
    /// before boot, as the systemd credential machined.enrolment.
    Enrolment(EnrolmentArgs),
    /// Print the JSON Schema of documents, for editors.
    Schema(SchemaArgs),
}

/// `gen secrets`.
#[derive(Debug, Args)]
pub struct SecretsArgs {
    /// The file to write; `-` prints.
    #[arg(short, long, value_name = "FILE", default_value = "secrets.yaml", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// Replace the file if it is there. Machines made from the old secrets are then lost.
    #[arg(long)]
    pub force: bool,
    /// For an etcd outside the cluster: the certificate of the authority that vouches for its servers.
    #[arg(long, value_name = "FILE", requires_all = ["etcd_certificate", "etcd_key"], value_hint = ValueHint::FilePath)]
    pub etcd_ca: Option<PathBuf>,
    /// What API servers show to it: a client certificate.
    #[arg(long, value_name = "FILE", requires = "etcd_ca", value_hint = ValueHint::FilePath)]
    pub etcd_certificate: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE", requires = "etcd_ca", value_hint = ValueHint::FilePath)]
    pub etcd_key: Option<PathBuf>,
}

/// `gen schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The file to write; `-` prints.
    #[arg(short, long, value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
}

/// `gen enrolment`.
#[derive(Debug, Args)]
pub struct EnrolmentArgs {
    /// The machine's name, as its config will say.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The cluster's secrets.
    #[arg(long, value_name = "FILE", default_value = "secrets.yaml", value_hint = ValueHint::FilePath)]
    pub secrets: PathBuf,
    /// An address that the machine will be reached at. May be repeated.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub ip: Vec<IpAddr>,
    /// The file to write; without it NAME.enrolment. `-` prints.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long)]
    pub force: bool,
}

/// `gen config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The cluster's name.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Where everyone reaches the Kubernetes API: HOST[:PORT]. Without it the virtual IP.
    #[arg(long, value_name = "ENDPOINT", required_unless_present = "virtual_ip")]
    pub endpoint: Option<String>,
    /// An address of the machines' network that nobody has: the control planes hold it by turns.
    #[arg(long, value_name = "ADDRESS")]
    pub virtual_ip: Option<String>,
    /// Control plane machines: HOSTNAME or HOSTNAME=ADDRESS, separated by commas.
    /// None are needed for further workers of a cluster that there is.
    #[arg(
        long,
        value_name = "NODES",
        value_delimiter = ',',
        required_unless_present_any = ["workers", "etcd_nodes"]
    )]
    pub control_planes: Vec<String>,
    /// Machines of role etcd, where members of etcd are on machines of their own: HOSTNAME=ADDRESS,
    /// separated by commas.
    #[arg(
        long,
        value_name = "NODES",
        value_delimiter = ',',
        conflicts_with_all = ["etcd_endpoints", "etcd_run_as"]
    )]
    pub etcd_nodes: Vec<String>,
    /// Addresses of machines of role etcd that the cluster has already, separated by commas: for further
    /// machines of it.
    #[arg(
        long,
        value_name = "ADDRESSES",
        value_delimiter = ',',
        requires = "secrets",
        conflicts_with_all = ["etcd_endpoints", "etcd_run_as"]
    )]
    pub etcd_members: Vec<String>,
    /// Workers: HOSTNAME or HOSTNAME=ADDRESS, separated by commas.
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    pub workers: Vec<String>,
    /// The Kubernetes version.
    #[arg(long, value_name = "VERSION", default_value = "v1.20.2")]
    pub kubernetes_version: String,
    /// Further names of the API servers' and machine APIs' certificates.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub cert_sans: Vec<String>,
    /// The range of pod addresses.
    #[arg(long, value_name = "CIDR")]
    pub pod_subnet: Option<String>,
    /// The range of service addresses.
    #[arg(long, value_name = "CIDR")]
    pub service_subnet: Option<String>,
    /// The domain of services and pods.
    #[arg(long, value_name = "DOMAIN")]
    pub dns_domain: Option<String>,
    /// The subnets a node's own address is chosen from.
    #[arg(long, value_name = "CIDRS", value_delimiter = ',')]
    pub node_subnets: Vec<String>,
    /// bridge (built in) or none.
    #[arg(long, value_name = "TYPE")]
    pub network_addon: Option<String>,
    /// embedded, or a registry prefix to take component images from.
    #[arg(long, value_name = "SOURCE")]
    pub image: Option<String>,
    /// Let pods be scheduled on control plane machines.
    #[arg(long)]
    pub allow_scheduling_on_control_planes: bool,
    /// An etcd outside the cluster: https://HOST:PORT of its members, separated by commas. The secrets
    /// have to hold a client of it, see gen secrets.
    #[arg(long, value_name = "URLS", value_delimiter = ',', requires = "secrets")]
    pub etcd_endpoints: Vec<String>,
    /// As what members of etcd run on the control planes: pod (static pods) or unit (etcd.service).
    #[arg(long, value_name = "FORM")]
    pub etcd_run_as: Option<String>,
    /// Existing secrets to use; without it new ones are made.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secrets: Option<PathBuf>,
    /// The folder to write into; without it the cluster's name.
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
    /// Do not add a context to the contexts file.
    #[arg(long)]
    pub no_context: bool,
    /// Replace files and a context that are there. Never replaces secrets.
    #[arg(long)]
    pub force: bool,
}
