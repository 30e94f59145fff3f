//! See `just adapters`.

use machine_plan::observed::Probe;
use serde_json::{Value, json};

use super::super::{api_server_ends, give_leases_up};
use crate::node::kube::leases::LEASES;
use crate::testing::control_plane::ControlPlane;

#[tokio::test]
async fn own_leases_are_given_up_and_nobody_elses() {
    let cluster = ControlPlane::start().await;
    let client = cluster.kube.client(&cluster.access).unwrap();
    let lease = |name: &str, holder: &str| {
        json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": name, "namespace": "kube-system" },
            "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 3 } })
    };
    let all = [
        ("kube-controller-manager", "cp1_a"),
        ("kube-scheduler", "cp2_b"),
    ];
    for (name, holder) in all {
        client.post(LEASES, &lease(name, holder)).await.unwrap();
    }
    // Again: what has no holder any more is as it should be.
    for _ in 0..2 {
        give_leases_up(Ok(client.clone()), "cp1").await.unwrap();
        let spec = async |name: &str| {
            let lease = client
                .get::<Value>(&format!("{LEASES}/{name}"))
                .await
                .unwrap();
            lease["spec"].clone()
        };
        let own = spec("kube-controller-manager").await;
        assert_eq!(own.get("holderIdentity"), None, "{own}");
        assert_eq!(own["leaseTransitions"], 3, "{own}");
        assert_eq!(spec("kube-scheduler").await["holderIdentity"], "cp2_b");
    }
    // Its end is seen, and not before.
    let served = cluster.kube.ready(&cluster.access).await;
    assert_ne!(served, Probe::Absent);
    drop(cluster.api_server);
    api_server_ends(&cluster.kube, &cluster.access)
        .await
        .unwrap();
}
