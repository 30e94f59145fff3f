//! The address that moves between control planes.

use std::net::IpAddr;

use crate::document::VirtualIpSection;
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Endpoint, VirtualIp};

/// VRRP's number is one byte and not 0 (RFC 9568, section 5.2.3).
const ROUTER_IDS: std::ops::RangeInclusive<u32> = 1..=255;
/// The advertised interval is twelve bits of centiseconds (section 5.2.7).
const INTERVALS: std::ops::RangeInclusive<u32> = 10..=40_950;

pub(super) fn judge(
    section: &VirtualIpSection,
    endpoint: Option<&Endpoint>,
    at: &Path,
    report: &mut Report<'_>,
) -> Option<VirtualIp> {
    let address = match address(&section.address, endpoint) {
        Ok(address) => Some(address),
        Err(fault) => {
            report.value(&at.key("address"), fault);
            None
        }
    };
    let id = u8::try_from(section.router_id).ok();
    let id = id.filter(|id| ROUTER_IDS.contains(&u32::from(*id)));
    if id.is_none() {
        let fault = Fault::new("is no virtual router id");
        report.value(&at.key("routerID"), fault.hint("1 to 255"));
    }
    let interval = section.advert_interval_milliseconds;
    if !INTERVALS.contains(&interval) || !interval.is_multiple_of(10) {
        let fault = Fault::new("is no interval that VRRP can tell");
        let hint = "10 to 40950, in steps of 10";
        report.value(&at.key("advertIntervalMilliseconds"), fault.hint(hint));
    }
    Some(VirtualIp {
        address: address?,
        router_id: id?,
        advert_interval_milliseconds: interval,
    })
}

fn address(text: &str, endpoint: Option<&Endpoint>) -> Result<IpAddr, Fault> {
    let example = "for example 10.0.2.100 or fd00::100";
    let address: IpAddr = text
        .parse()
        .map_err(|_| Fault::new("is not an IP address").hint(example))?;
    let link_local = match address {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local {
        return Err(Fault::new("is not an address that machines can share").hint(example));
    }
    match endpoint.and_then(Endpoint::ip) {
        Some(other) if other != address => Err(Fault::new(format!(
            "is not where controlPlaneEndpoint leads, which is {other}"
        ))
        .hint("write the same address in both, or a name in controlPlaneEndpoint")),
        _ => Ok(address),
    }
}
