use std::net::IpAddr;

use ipnet::IpNet;

use super::Firewall;

/// An address range such as `10.0.2.0/24`.
pub type Cidr = IpNet;

/// How the machine reaches others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// The interfaces; none means DHCP on every Ethernet interface.
    pub interfaces: Vec<Interface>,
    /// The DNS servers; none means those DHCP names.
    pub nameservers: Vec<IpAddr>,
    /// The time servers, names or addresses; none means the image's own.
    pub time_servers: Vec<String>,
    /// Who may reach what.
    pub firewall: Firewall,
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Which interface is meant.
    pub selector: InterfaceSelector,
    /// Whether addresses come from DHCP.
    pub dhcp: bool,
    /// Static addresses with their prefix length, for example `10.0.2.15/24`.
    pub addresses: Vec<IpNet>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// The MTU in bytes; none leaves the driver's.
    pub mtu: Option<u32>,
}

/// Which interface is meant. Names move between kernels; a hardware address does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InterfaceSelector {
    /// By the kernel's name, perhaps with `*` and `?`.
    Name(String),
    /// By hardware address, in lower case with colons.
    HardwareAddress(String),
    /// By kernel driver, for example `virtio_net`.
    Driver(String),
}

/// A static route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destination; `0.0.0.0/0` or `::/0` is the default route.
    pub to: IpNet,
    /// The gateway; none means the destination is on the link.
    pub via: Option<IpAddr>,
    /// The metric; the lowest wins.
    pub metric: Option<u32>,
}
