//! `plan`: the intermediates of the last look.

use machined_proto::v1::{InspectRequest, Intermediate};
use serde_json::Value;

use crate::args::{Common, PlanArgs, What};
use crate::failure::Failure;
use crate::files;
use crate::fleet;
use crate::output;
use crate::session::Session;

/// Shows one intermediate of every machine meant.
pub(super) async fn run(common: &Common, args: PlanArgs) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let what = match args.what {
        What::Plan => Intermediate::Plan,
        What::Desired => Intermediate::Desired,
        What::Observed => Intermediate::Observed,
    };
    let outcomes = fleet::ask(session.targets()?, |target| async move {
        let link = session.connect(&target).await?;
        let request = InspectRequest { what: what.into() };
        let json = link
            .call("plan", link.machine().inspect(request))
            .await?
            .json;
        serde_json::from_str::<Value>(&json).map_err(|error| {
            Failure::failed(format!(
                "{}: its answer is no JSON: {error}",
                target.label()
            ))
        })
    })
    .await;
    let value = fleet::as_value(&outcomes, Clone::clone);
    files::print(&output::encode(&value, args.output.format)?)?;
    fleet::conclude(outcomes)
}
