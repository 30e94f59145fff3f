use std::net::IpAddr;

/// An address that one ready control plane holds at a time, by VRRP (RFC 9568).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualIp {
    /// The address.
    pub address: IpAddr,
    /// The group's number on the link.
    pub router_id: u8,
    /// Between two advertisements of the holder; a multiple of 10.
    pub advert_interval_milliseconds: u32,
}
