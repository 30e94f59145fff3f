//! `events`.

use machined_proto::v1::{Event, EventsRequest};
use serde_json::{Value, json};

use crate::args::{Common, EventsArgs, Format};
use crate::failure::Failure;
use crate::session::Session;
use crate::streams;
use crate::time;

/// Shows events of every machine meant, as they come.
pub(super) async fn run(common: &Common, args: EventsArgs) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let request = EventsRequest {
        from: args.from,
        follow: args.follow,
    };
    let format = args.output.format;
    let kind = args.kind.as_deref();
    streams::show(
        session,
        session.targets()?,
        "events",
        |mut machine| async move { machine.events(request).await },
        |node, event: &Event| {
            let wanted = kind.is_none_or(|kind| kind == event.kind);
            wanted.then(|| match format {
                Format::Table => line(node, event),
                Format::Json | Format::Yaml => format!("{}\n", shape(node, event)),
            })
        },
    )
    .await
}

fn line(node: Option<&str>, event: &Event) -> String {
    let node = node.map(|node| format!("{node} ")).unwrap_or_default();
    format!(
        "{node}{} {} {} {}: {}\n",
        event.number,
        time::shown(event.time_ms),
        event.kind,
        event.object,
        event.message
    )
}

fn shape(node: Option<&str>, event: &Event) -> Value {
    json!({
        "node": node,
        "number": event.number,
        "time": time::shown(event.time_ms),
        "kind": event.kind,
        "object": event.object,
        "message": event.message,
    })
}
