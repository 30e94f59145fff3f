//! `services`.

use machined_proto::v1::{ListServicesRequest, RestartServiceRequest, Service};
use serde_json::json;

use crate::args::{Common, Output, ServicesArgs, ServicesCommand};
use crate::failure::Failure;
use crate::files;
use crate::fleet;
use crate::output::{self, table};
use crate::session::Session;

/// Lists or restarts services.
pub(super) async fn run(common: &Common, args: ServicesArgs) -> Result<(), Failure> {
    match args.command {
        None => list(common, args.output).await,
        Some(ServicesCommand::Restart { name }) => restart(common, &name).await,
    }
}

async fn list(common: &Common, output: Output) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let outcomes = fleet::ask(session.targets()?, |target| async move {
        let link = session.connect(&target).await?;
        let mut machine = link.machine();
        let call = machine.list_services(ListServicesRequest {});
        Ok(link.call("services", call).await?.services)
    })
    .await;
    let value = fleet::as_value(&outcomes, |services| services.iter().map(shape).collect());
    output::show(output.format, &value, || {
        let header = ["NODE", "SERVICE", "STATE", "RESULT", "RESTARTS"];
        let rows = fleet::good(&outcomes).flat_map(|(node, services)| {
            services.iter().map(move |service| {
                vec![
                    node.to_owned(),
                    service.name.clone(),
                    format!("{} ({})", service.active_state, service.sub_state),
                    service.result.clone(),
                    service.restarts.to_string(),
                ]
            })
        });
        table(&header, rows)
    })?;
    fleet::conclude(outcomes)
}

fn shape(service: &Service) -> serde_json::Value {
    json!({
        "name": service.name,
        "activeState": service.active_state,
        "subState": service.sub_state,
        "result": service.result,
        "restarts": service.restarts,
    })
}

async fn restart(common: &Common, name: &str) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let targets = session.named_targets("services restart")?;
    let outcomes = fleet::ask(targets, |target| async move {
        let link = session.connect(&target).await?;
        let request = RestartServiceRequest {
            name: name.to_owned(),
        };
        link.call("services restart", link.machine().restart_service(request))
            .await
            .map(drop)
    })
    .await;
    let lines: String = fleet::good(&outcomes)
        .map(|(node, ())| format!("{node}: {name} restarted\n"))
        .collect();
    files::print(&lines)?;
    fleet::conclude(outcomes)
}
