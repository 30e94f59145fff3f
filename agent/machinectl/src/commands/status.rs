//! `status`.

use machined_proto::v1::{StatusRequest, StatusResponse};
use serde_json::{Value, json};

use crate::args::{Common, Output, Wait};
use crate::failure::Failure;
use crate::fleet::{self, Outcome};
use crate::output::{self, table, yes};
use crate::session::Session;
use crate::time;
use crate::wait::{self, Goal};

/// Shows what machines are and whether they are well.
pub(super) async fn run(common: &Common, output: Output, wait: Wait) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let outcomes = fleet::ask(session.targets()?, |target| async move {
        if wait.wait {
            wait::until(session, &target, Goal::Ready, wait.timeout).await?;
        }
        let link = session.connect(&target).await?;
        link.call("status", link.machine().status(StatusRequest {}))
            .await
    })
    .await;
    let value = fleet::as_value(&outcomes, shape);
    output::show(output.format, &value, || for_people(&outcomes))?;
    fleet::conclude(outcomes)
}

fn for_people(outcomes: &[Outcome<StatusResponse>]) -> String {
    let header = ["NODE", "ROLE", "GENERATION", "IN EFFECT", "READY", "NOTE"];
    let rows = fleet::good(outcomes).map(|(node, status)| {
        let note = match status.revert_at_ms {
            0 => String::new(),
            at => format!("a try goes back at {} unless confirmed", time::shown(at)),
        };
        vec![
            node.to_owned(),
            status.role.clone(),
            status.generation.to_string(),
            yes(status.settled),
            match wait::is_node(status) {
                true => yes(status.node_ready),
                false => "-".to_owned(),
            },
            note,
        ]
    });
    let mut text = table(&header, rows);
    for (node, status) in fleet::good(outcomes) {
        let open = status
            .stages
            .iter()
            .filter(|stage| stage.verdict != "settled");
        for stage in open {
            text.push_str(&format!(
                "\n{node}: {}: {} {}",
                stage.name, stage.verdict, stage.message
            ));
        }
        for condition in &status.conditions {
            text.push_str(&format!(
                "\n{node}: {} {}: {}",
                condition.name, condition.object, condition.message
            ));
            for line in &condition.log {
                text.push_str(&format!("\n  | {line}"));
            }
            if !condition.next_step.is_empty() {
                text.push_str(&format!("\n  next: {}", condition.next_step));
            }
        }
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn shape(status: &StatusResponse) -> Value {
    let stages = status.stages.iter().map(
        |stage| json!({ "name": stage.name, "verdict": stage.verdict, "message": stage.message }),
    );
    let conditions = status.conditions.iter().map(|condition| {
        json!({
            "name": condition.name,
            "object": condition.object,
            "message": condition.message,
            "nextStep": condition.next_step,
            "since": time::shown(condition.since_ms),
            "log": condition.log,
        })
    });
    json!({
        "hostname": status.hostname,
        "role": status.role,
        "generation": status.generation,
        "settled": status.settled,
        "nodeReady": status.node_ready,
        "stages": stages.collect::<Vec<_>>(),
        "conditions": conditions.collect::<Vec<_>>(),
        "looks": status.looks,
        "lastEvent": status.last_event,
        "revertAt": time::shown(status.revert_at_ms),
    })
}
