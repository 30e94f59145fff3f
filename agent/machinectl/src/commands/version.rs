//! `version`.

use machined_proto::v1::VersionRequest;
use serde_json::json;

use crate::args::{Common, Output};
use crate::failure::Failure;
use crate::fleet;
use crate::output::{self, table};
use crate::session::Session;

/// Shows the client's version and, where nodes are named, theirs.
pub(super) async fn run(common: &Common, output: Output) -> Result<(), Failure> {
    let client = env!("CARGO_PKG_VERSION");
    if common.node.is_empty() {
        let value = json!({ "client": client });
        return output::show(output.format, &value, || format!("machinectl {client}\n"));
    }
    let session = &Session::open(common)?;
    let outcomes = fleet::ask(session.targets()?, |target| async move {
        let link = session.connect(&target).await?;
        link.call("version", link.machine().version(VersionRequest {}))
            .await
    })
    .await;
    let machines = fleet::as_value(&outcomes, |answer| {
        json!({
            "version": answer.version,
            "hostname": answer.hostname,
            "role": answer.role,
            "kubernetesVersion": answer.kubernetes_version,
            "os": answer.os,
            "kernel": answer.kernel,
            "bootId": answer.boot_id,
        })
    });
    output::show(
        output.format,
        &json!({ "client": client, "machines": machines }),
        || {
            let header = ["NODE", "MACHINED", "ROLE", "KUBERNETES", "OS", "KERNEL"];
            let rows = fleet::good(&outcomes).map(|(node, answer)| {
                vec![
                    node.to_owned(),
                    answer.version.clone(),
                    answer.role.clone(),
                    answer.kubernetes_version.clone(),
                    answer.os.clone(),
                    answer.kernel.clone(),
                ]
            });
            format!("machinectl {client}\n{}", table(&header, rows))
        },
    )?;
    fleet::conclude(outcomes)
}
