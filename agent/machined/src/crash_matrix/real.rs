//! The same on systemd itself, and what is asked of an API server. See `just adapters`.

use machine_plan::action::Action;
use machine_plan::desired::objects_digest;
use machine_plan::observed::{NodeSeen, Observed, Probe};
use machine_plan::stages::{Stage, verdict};
use machine_plan::verdict::Verdict;
use serde_json::json;

use super::{disk, kind, machine, proven, scenes, trials};
use crate::durable::steps;
use crate::node::kube::{Patch, node_path};
use crate::node::systemd::tests::bench::Bench;
use crate::node::{drain, files};
use crate::testing::Scratch;
use crate::testing::control_plane::{ControlPlane, printed};

const NODE: &str = "cp1";

fn on_systemd(scene: scenes::Scene) {
    machine::alone(Bench::real, async move |bench| {
        proven(scene.kind, trials::run(&scene, &bench).await);
    });
}

#[test]
fn restart_unit() {
    on_systemd(scenes::restart_unit());
}

#[test]
fn reload_unit() {
    on_systemd(scenes::reload_unit());
}

#[test]
fn start_unit() {
    on_systemd(scenes::start_unit());
}

#[test]
fn stop_unit() {
    on_systemd(scenes::stop_unit());
}

fn planned(cluster: &ControlPlane, stage: Stage, observed: &Observed) -> Vec<Action> {
    match verdict(stage, &cluster.desired, observed, 0).unwrap() {
        Verdict::Act { actions } => actions,
        Verdict::Settled => Vec::new(),
        other => panic!("{other:?}"),
    }
}

/// Every object's version.
fn versions(cluster: &ControlPlane) -> String {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": cluster.desired.objects });
    let only = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    printed(cluster.kubectl(&["get", "-f", "-", "-o", only], &list.to_string()))
}

#[tokio::test]
async fn objects() {
    let cluster = ControlPlane::start().await;
    let objects = &cluster.desired.objects;
    let digest = objects_digest(objects);
    let seen = |note| Observed {
        applied: note,
        ..Observed::default()
    };
    let wanted = |note| planned(&cluster, Stage::Cluster, &seen(note));
    let all = wanted(None);
    assert!(matches!(&all[..], [Action::ApplyObjects { .. }]));
    // Killed before, and between any two objects.
    for count in 0..objects.len() {
        let some = &objects[..count];
        cluster.kube.apply(&cluster.access, some).await.unwrap();
        assert_eq!(wanted(None), all);
    }
    cluster.kube.apply(&cluster.access, objects).await.unwrap();
    let done = versions(&cluster);
    assert_eq!(done.lines().count(), objects.len());
    // Killed or cut off after the last, at any step of the note: it is there as a whole, or all is
    // applied once more and changes nothing. With the power it goes.
    let scratch = Scratch::new();
    let path = scratch.path().join("machined/applied");
    files::set_note(&scratch.path().join("other"), "there").unwrap();
    let before = disk::read(&[scratch.path()]);
    steps::record(usize::MAX);
    files::set_note(&path, &digest).unwrap();
    let taken = steps::recorded();
    for count in 0..=taken.len() {
        let left = disk::killed(&before, &taken[..count]);
        disk::put(&[scratch.path()], &left);
        match files::note(&path) {
            None => assert_eq!(wanted(None), all),
            note => assert_eq!(wanted(note), []),
        }
    }
    assert_eq!(files::note(&path).as_ref(), Some(&digest));
    cluster.kube.apply(&cluster.access, objects).await.unwrap();
    assert_eq!(versions(&cluster), done);
    proven("ApplyObjects", [true; 6]);
}

async fn node(cluster: &ControlPlane) -> NodeSeen {
    match cluster.kube.node(&cluster.access, NODE).await {
        Probe::Seen(node) => node,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn this_machines_node() {
    let cluster = ControlPlane::start().await;
    let (kube, access) = (&cluster.kube, &cluster.access);
    let client = kube.client(access).unwrap();
    let made = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } });
    printed(cluster.kubectl(&["create", "-f", "-"], &made.to_string()));
    let cordoned = json!({
        "metadata": { "annotations": { "machined/cordoned-in-run": "another" } },
        "spec": { "unschedulable": true },
    });
    let path = node_path(NODE);
    client.patch(&path, Patch::Merge, &cordoned).await.unwrap();

    let look = async |stage| {
        let observed = Observed {
            node: Probe::Seen(node(&cluster).await),
            peers: Probe::Seen(Vec::new()),
            bootstrap_ordered: true,
            ..Observed::default()
        };
        planned(&cluster, stage, &observed)
    };
    for (stage, name) in [
        (Stage::Node, "MarkNode"),
        (Stage::Node, "UncordonNode"),
        (Stage::Network, "AssignPodCidrs"),
    ] {
        let find = |actions: Vec<Action>| actions.into_iter().find(|action| kind(action) == name);
        let action = find(look(stage).await).unwrap();
        // Before: again the same. After: no more, and once more changes nothing.
        assert_eq!(find(look(stage).await), Some(action.clone()));
        let mut after = Vec::new();
        for _ in 0..2 {
            match &action {
                Action::MarkNode {
                    name,
                    labels,
                    taints,
                } => kube.mark(access, name, labels, taints).await.unwrap(),
                Action::AssignPodCidrs { name, cidrs } => {
                    let given = (name.as_str(), cidrs.as_slice());
                    kube.assign_pod_cidrs(access, given, NODE).await.unwrap();
                }
                _ => drain::uncordon(kube.client(access), NODE).await.unwrap(),
            }
            assert_eq!(find(look(stage).await), None);
            after.push(node(&cluster).await);
        }
        assert_eq!(after[0], after[1]);
        proven(name, [true, false, true, false, false, false]);
    }
    let schedulable = ["get", "node", NODE, "-o", "jsonpath={.spec.unschedulable}"];
    assert_eq!(printed(cluster.kubectl(&schedulable, "")), "");
}
