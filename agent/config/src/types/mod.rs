//! The words of a valid config, one type each. Each can only be built from text that is right.

mod component;
mod endpoint;
mod etcd;
mod firewall;
mod hostname;
mod kubelet;
mod network;
mod role;
mod runtime;
mod san;
mod version;
mod virtual_ip;

pub use component::{Arg, Component, HostVolume, NetworkAddon, PathType};
pub use endpoint::Endpoint;
pub use etcd::EtcdRunAs;
pub use firewall::{Firewall, Ingress, Transport};
pub use hostname::Hostname;
pub use kubelet::{Kubelet, Taint, TaintEffect};
pub use network::{Cidr, Interface, InterfaceSelector, Network, Route};
pub use role::Role;
pub use runtime::{ComponentSource, Containerd, EMBEDDED_IMAGE, Mirror};
pub use san::San;
pub use version::KubernetesVersion;
pub use virtual_ip::VirtualIp;

pub(crate) use hostname::{check_label, check_subdomain};
