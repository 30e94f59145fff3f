//! Streams of several machines at once, printed as they come.

use machined_proto::v1::machine_service_client::MachineServiceClient;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::failure::Failure;
use crate::files;
use crate::fleet;
use crate::session::Session;
use crate::target::Target;

/// Prints every item of every machine's stream. The node's name goes with each item where there
/// are several machines. A stream that breaks ends its machine only.
pub(crate) async fn show<T, F>(
    session: &Session,
    targets: Vec<Target>,
    verb: &str,
    open: impl Fn(MachineServiceClient<Channel>) -> F,
    line: impl Fn(Option<&str>, &T) -> Option<String>,
) -> Result<(), Failure>
where
    F: Future<Output = Result<Response<Streaming<T>>, Status>>,
{
    let several = targets.len() > 1;
    let (open, line) = (&open, &line);
    let outcomes = fleet::ask(targets, |target| async move {
        let link = session.connect(&target).await?;
        let mut stream = link.call(verb, open(link.machine())).await?;
        let node = several.then(|| target.label());
        loop {
            match stream.message().await {
                Ok(Some(item)) => {
                    if let Some(text) = line(node, &item) {
                        files::print(&text)?;
                    }
                }
                Ok(None) => return Ok(()),
                Err(status) => return Err(link.told(verb, &status)),
            }
        }
    })
    .await;
    fleet::conclude(outcomes)
}
