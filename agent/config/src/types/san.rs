use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{check_subdomain, endpoint::looks_like_ipv4};
use crate::problem::Fault;

/// A name or address that a certificate also answers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// A DNS name, perhaps with a leading `*.`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl FromStr for San {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        const SHAPE: &str = "a DNS name or an IP address, without port";
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        if looks_like_ipv4(name) {
            return Err(Fault::new("is not a valid IPv4 address").hint(SHAPE));
        }
        check_subdomain(name).map_err(|fault| {
            Fault::new(fault.message).hint(fault.hint.unwrap_or_else(|| SHAPE.to_owned()))
        })?;
        Ok(Self::Dns(text.to_owned()))
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}
