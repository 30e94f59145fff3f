//! `reboot` and `shutdown`.

use machined_proto::v1::{RebootRequest, ShutdownRequest};

use crate::args::{Common, PowerArgs};
use crate::failure::Failure;
use crate::files;
use crate::fleet::{self, Outcome};
use crate::session::Session;

/// Reboots the named machines.
pub(super) async fn reboot(common: &Common, args: PowerArgs) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let outcomes = fleet::ask(session.named_targets("reboot")?, |target| async move {
        let link = session.connect(&target).await?;
        let request = RebootRequest {
            drain_seconds: args.drain_seconds(),
            force: args.force,
        };
        link.call("reboot", link.machine().reboot(request))
            .await
            .map(drop)
    });
    report(outcomes.await, "reboots")
}

/// Shuts the named machines down.
pub(super) async fn shutdown(common: &Common, args: PowerArgs) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let outcomes = fleet::ask(session.named_targets("shutdown")?, |target| async move {
        let link = session.connect(&target).await?;
        let request = ShutdownRequest {
            drain_seconds: args.drain_seconds(),
            force: args.force,
        };
        link.call("shutdown", link.machine().shutdown(request))
            .await
            .map(drop)
    });
    report(outcomes.await, "shuts down")
}

fn report(outcomes: Vec<Outcome<()>>, does: &str) -> Result<(), Failure> {
    let lines: String = fleet::good(&outcomes)
        .map(|(node, ())| format!("{node}: {does}\n"))
        .collect();
    files::print(&lines)?;
    fleet::conclude(outcomes)
}
