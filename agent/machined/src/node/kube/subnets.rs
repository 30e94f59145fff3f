//! Pod subnets, given to nodes before there is a controller manager that does.

use ipnet::IpNet;
use machine_plan::render::CONTROLLERS;
use serde_json::json;

use super::{Access, Client, Kube, List, NODES, Node, Patch, leases, node_path};
use crate::node::NodeError;

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
        leases::take(&client, lease, hostname).await.map_err(fail)?;
        let given = given(&client, name, cidrs).await;
        // One that is left lasts for some seconds more, in which nobody leads.
        let up = leases::give_up(&client, lease, hostname).await;
        given.and(up.map_err(|e| e.to_string())).map_err(fail)
    }
}

async fn given(client: &Client, name: &str, cidrs: &[IpNet]) -> Result<(), String> {
    let nodes = client.get::<List<Node>>(NODES).await;
    let nodes = nodes.map_err(|e| e.to_string())?.items();
    let mut others = nodes.iter().filter(|node| node.metadata.name != name);
    let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    let has = |node: &&Node| {
        let theirs = node.peer().pod_cidrs;
        theirs
            .iter()
            .any(|one| cidrs.iter().any(|other| overlaps(one, other)))
    };
    if let Some(other) = others.find(has) {
        return Err(format!(
            "node {} has one of them by now",
            other.metadata.name
        ));
    }
    let patch = json!({ "spec": { "podCIDR": cidrs.first(), "podCIDRs": cidrs } });
    let patched = client.patch(&node_path(name), Patch::Merge, &patch).await;
    patched.map_err(|e| e.to_string())
}
