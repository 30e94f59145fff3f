use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::check_subdomain;
use crate::problem::Fault;

/// Where the Kubernetes API is reached: a name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// The port of the Kubernetes API when a document names none.
    pub const DEFAULT_PORT: u16 = 6443;

    /// The name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as an address, unless it is a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `https://host:port`, as a kubeconfig has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{self}")
    }
}

impl FromStr for Endpoint {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        const SHAPE: &str = "write host:port, for example 10.0.2.15:6443 or [fd00::1]:6443";
        if text.contains("://") || text.contains('/') {
            return Err(Fault::new("is a URL, not host:port").hint(SHAPE));
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest
                .split_once(']')
                .ok_or_else(|| Fault::new("lacks its closing bracket").hint(SHAPE))?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| Fault::new("has no IPv6 address in its brackets").hint(SHAPE))?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(Fault::new("is not host:port").hint(SHAPE)),
            }
        } else if text.parse::<Ipv6Addr>().is_ok() {
            // Whether its last part was meant to be the port has to be asked.
            if text.ends_with(":6443") {
                return Err(Fault::new("is an IPv6 address without brackets").hint(SHAPE));
            }
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            None => Self::DEFAULT_PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|number| *number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| Fault::new("has no valid port").hint("1 to 65535"))?,
        };
        let host = match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
                return Err(Fault::new("is an address nobody can connect to").hint(SHAPE));
            }
            Ok(ip) => ip.to_string(),
            Err(_) if looks_like_ipv4(host) => {
                return Err(Fault::new("is not a valid IPv4 address").hint(SHAPE));
            }
            Err(_) => {
                check_subdomain(host).map_err(|fault| {
                    Fault::new(format!("its host {}", fault.message)).hint(SHAPE)
                })?;
                host.to_owned()
            }
        };
        Ok(Self { host, port })
    }
}

/// Four numbers are a mistyped address rather than a name: no top-level domain is a number.
pub(super) fn looks_like_ipv4(host: &str) -> bool {
    host.rsplit('.')
        .next()
        .is_some_and(|last| !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
        && host.contains('.')
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
