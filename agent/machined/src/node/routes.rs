//! The kernel's routes to other nodes' pods, over netlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use machine_plan::observed::{Probe, Route};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol,
};
use rtnetlink::{Error, Handle, RouteMessageBuilder, new_connection};

use super::NodeError;

/// Tells our routes from everybody else's. Free for use: not in the kernel's list
/// of routing daemons (rtnetlink.h) nor in iproute2's.
const OURS: RouteProtocol = RouteProtocol::Other(77);

/// Our routes of both families in the main table.
pub async fn look() -> Probe<Vec<Route>> {
    match all().await {
        Ok(routes) => Probe::Seen(routes),
        Err(why) => Probe::Unreadable(why),
    }
}

async fn all() -> Result<Vec<Route>, String> {
    let handle = connect()?;
    let mut found = Vec::new();
    for message in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        let mut routes = handle.route().get(message).execute();
        while let Some(message) = routes.try_next().await.map_err(|e| why(&e))? {
            found.extend(ours(&message));
        }
    }
    Ok(found)
}

/// Adds, or points elsewhere, and removes. One that the kernel refuses does not
/// keep the others from being set; "already so" is success.
pub async fn set(add: &[Route], remove: &[Route]) -> Result<(), NodeError> {
    let fail = |object: String, why: String| NodeError::Route { object, why };
    let handle = connect().map_err(|why| fail("to other nodes' pods".to_owned(), why))?;
    let mut refused = Ok(());
    for route in add {
        let done = async {
            let message = message(route)?;
            let request = handle.route().add(message).replace();
            request.execute().await.map_err(|e| why(&e))
        };
        if let Err(why) = done.await {
            refused = Err(fail(format!("to {} through {}", route.to, route.via), why));
        }
    }
    for route in remove {
        let done = async {
            let message = message(route)?;
            match handle.route().del(message).execute().await {
                Err(Error::NetlinkError(e)) if e.raw_code() == -NO_SUCH_ROUTE => Ok(()),
                done => done.map_err(|e| why(&e)),
            }
        };
        if let Err(why) = done.await {
            refused = Err(fail(format!("to {}, to remove it", route.to), why));
        }
    }
    refused
}

/// ESRCH, which is what the kernel says of a route that is not there.
const NO_SUCH_ROUTE: i32 = 3;

// The connection's task ends when the handle is dropped.
fn connect() -> Result<Handle, String> {
    let (connection, handle, _) = new_connection().map_err(|e| format!("open netlink: {e}"))?;
    tokio::spawn(connection);
    Ok(handle)
}

fn message(route: &Route) -> Result<RouteMessage, String> {
    let builder = RouteMessageBuilder::<IpAddr>::new()
        .protocol(OURS)
        .destination_prefix(route.to.network(), route.to.prefix_len())
        .and_then(|builder| builder.gateway(route.via))
        .map_err(|e| e.to_string())?;
    Ok(builder.build())
}

fn ours(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.protocol != OURS || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let address = |address: &RouteAddress| match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    };
    let (mut to, mut via) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => to = address(ip),
            RouteAttribute::Gateway(ip) => via = address(ip),
            _ => {}
        }
    }
    Some(Route {
        to: IpNet::new(to?, header.destination_prefix_length).ok()?,
        via: via?,
    })
}

fn why(error: &Error) -> String {
    match error {
        Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
