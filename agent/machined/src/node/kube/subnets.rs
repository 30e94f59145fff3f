//! Pod subnets, given to nodes before there is a controller manager that does.

use ipnet::IpNet;
use machine_plan::render::CONTROLLERS;
use serde_json::json;
use tokio::time::{Duration, Instant, timeout_at};

use super::{Access, Client, Error, Kube, List, NODES, Node, Patch, leases, node_path};
use crate::node::NodeError;

/// After so long nothing more is asked for under a lease, and the API server is given as long again for
/// what it was asked: together well before the lease ends.
const SURE: Duration = Duration::from_secs(leases::LASTS / 3);

impl Kube {
    /// Gives a node its pod subnets, under the lease by which a controller manager leads: who leads next
    /// reads what nodes have before it gives any. The API server refuses other ones than a node has.
    pub async fn assign_pod_cidrs(
        &self,
        access: &Access,
        (name, cidrs): (&str, &[IpNet]),
        hostname: &str,
    ) -> Result<(), NodeError> {
        let fail = |why: String| NodeError::Kube {
            operation: "assign pod subnets to",
            object: format!("node {name}"),
            why,
        };
        let client = self.client(access).map_err(fail)?;
        let (lease, _) = CONTROLLERS[0];
        let until = Instant::now() + SURE;
        leases::take(&client, lease, hostname).await.map_err(fail)?;
        match given(&client, (name, cidrs), until).await {
            // What became of it is known.
            Ok(refused) => {
                let ours = |holder: &str| holder == leases::holder(hostname);
                let up = leases::give_up(&client, lease, ours).await;
                refused.map_or(Ok(()), Err).map_err(fail)?;
                up.map_err(|e| fail(e.to_string()))
            }
            // Nobody leads until the lease ends by itself.
            Err(why) => Err(fail(why)),
        }
    }
}

/// Why it is not given, where that is certain; an error where what became of it is not.
async fn given(
    client: &Client,
    (name, cidrs): (&str, &[IpNet]),
    until: Instant,
) -> Result<Option<String>, String> {
    let nodes = match timeout_at(until, client.get::<List<Node>>(NODES)).await {
        Ok(Ok(nodes)) => nodes.items(),
        Ok(Err(why)) => return Ok(Some(why.to_string())),
        Err(_) => return Ok(Some("the nodes were not told in time".to_owned())),
    };
    let mut others = nodes.iter().filter(|node| node.metadata.name != name);
    let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    let has = |node: &&Node| {
        let theirs = node.peer().pod_cidrs;
        theirs
            .iter()
            .any(|one| cidrs.iter().any(|other| overlaps(one, other)))
    };
    if let Some(other) = others.find(has) {
        let other = &other.metadata.name;
        return Ok(Some(format!("node {other} has one of them by now")));
    }
    if Instant::now() >= until {
        return Ok(Some("the lease is too old by now".to_owned()));
    }
    let patch = json!({ "spec": { "podCIDR": cidrs.first(), "podCIDRs": cidrs } });
    let path = format!("{}?timeout={}s", node_path(name), SURE.as_secs());
    match client.patch(&path, Patch::Merge, &patch).await {
        Ok(()) => Ok(None),
        Err(Error::Refused { code, message }) if code < 500 => Ok(Some(message)),
        Err(why) => Err(why.to_string()),
    }
}

#[cfg(test)]
#[path = "subnets_tests.rs"]
mod tests;
