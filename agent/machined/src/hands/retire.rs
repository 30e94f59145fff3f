//! The end of what this machine serves for its cluster, before anything else of it stops. The loop takes
//! the manifests away; here their end is waited for.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use machine_config::{MachineConfig, Role};
use machine_plan::observed::Probe;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Hands;
use crate::node::kube::{Access, Error, Kube, Patch};
use crate::node::{self, facts};

/// A pod's grace period is 30 s; kubelet that missed a change of its folder looks again after 20 s.
const END: Duration = Duration::from_secs(60);

/// Between two looks at who is still there.
const LOOKS: Duration = Duration::from_millis(250);

/// Who holds a lease in kube-system, and where kubeadm's manifests have it listen on loopback.
const CONTROLLERS: [(&str, u16); 2] = [
    ("kube-controller-manager", 10257),
    ("kube-scheduler", 10259),
];

/// How long one may take to accept a connection from its own machine.
const CONNECT: Duration = Duration::from_secs(1);

impl Hands {
    /// See [`crate::api::Hands::controllers_end`].
    pub(super) async fn end_of_controllers(&self) -> Result<(), String> {
        let Some(config) = self.control_plane() else {
            return Ok(());
        };
        let ended = async {
            for (_, port) in CONTROLLERS {
                while listens(port).await {
                    tokio::time::sleep(LOOKS).await;
                }
            }
        };
        timeout(END, ended).await.map_err(|_| late("controllers"))?;
        let entry = self.ledger.current().ok_or("there is no config")?;
        let client = Kube::default().client(&node::access(&entry))?;
        for (name, _) in CONTROLLERS {
            let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name}");
            let lease = match client.get::<Value>(&path).await {
                Ok(lease) => lease,
                // Older ones keep it elsewhere.
                Err(Error::Refused { code: 404, .. }) => continue,
                Err(error) => return Err(format!("cannot read lease {name}: {error}")),
            };
            let Some(patch) = given_up(&lease, config.hostname().as_str()) else {
                continue;
            };
            match client.patch(&path, Patch::Merge, &patch).await {
                // Another's since.
                Ok(()) | Err(Error::Refused { code: 409, .. }) => {}
                Err(error) => return Err(format!("cannot give up lease {name}: {error}")),
            }
        }
        Ok(())
    }

    /// See [`crate::api::Hands::api_server_ends`].
    pub(super) async fn end_of_api_server(&self) -> Result<(), String> {
        let Some(config) = self.control_plane() else {
            return Ok(());
        };
        let access = Access::new(&config, facts::look(&config).node_ip);
        let ended = async {
            while Kube::default().ready(&access).await != Probe::Absent {
                tokio::time::sleep(LOOKS).await;
            }
        };
        timeout(END, ended).await.map_err(|_| late("API server"))
    }

    fn control_plane(&self) -> Option<MachineConfig> {
        let config = self.ledger.current()?.bundle.config.clone();
        (config.role() == Role::ControlPlane).then_some(config)
    }
}

async fn listens(port: u16) -> bool {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let refused = |tried: std::io::Result<TcpStream>| {
        tried.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    !timeout(CONNECT, TcpStream::connect(at))
        .await
        .is_ok_and(refused)
}

fn late(what: &str) -> String {
    let seconds = END.as_secs();
    format!("the {what} here have not ended within {seconds} s; the machine goes down with them")
}

/// What gives a lease up that this machine holds, and no later one: another takes one without a holder
/// at once, and one that is held only 15 s after its holder was last heard of.
fn given_up(lease: &Value, hostname: &str) -> Option<Value> {
    let holder = lease.pointer("/spec/holderIdentity")?.as_str()?;
    // The name, and what tells one process from the next.
    holder.strip_prefix(hostname)?.strip_prefix('_')?;
    let version = lease.pointer("/metadata/resourceVersion")?;
    Some(json!({
        "metadata": { "resourceVersion": version },
        "spec": { "holderIdentity": null, "leaseDurationSeconds": 1 },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lease_of_this_machine_is_given_up_and_only_as_seen() {
        let lease = |holder: &str| json!({ "metadata": { "resourceVersion": "7" }, "spec": { "holderIdentity": holder } });
        let patch = given_up(&lease("cp1_b2f0"), "cp1").unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["spec"]["holderIdentity"], Value::Null);
        for other in ["cp2_b2f0", "cp10_b2f0", "cp1", ""] {
            assert_eq!(given_up(&lease(other), "cp1"), None, "{other}");
        }
        assert_eq!(given_up(&json!({ "spec": {} }), "cp1"), None);
    }

    #[tokio::test]
    async fn who_listens_is_told_from_who_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(port).await);
        drop(listener);
        assert!(!listens(port).await);
    }
}
