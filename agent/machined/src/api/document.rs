//! Documents on their way in.

use std::time::SystemTime;

use machine_config::Bundle;
use tonic::Status;

use super::convert;

/// Reads a document stream, or says every problem of it.
pub(super) async fn read(bytes: Vec<u8>) -> Result<(String, Bundle), Status> {
    if bytes.len() > machined_proto::DOCUMENT_LIMIT {
        return Err(Status::invalid_argument(format!(
            "the document has {} bytes, more than {}",
            bytes.len(),
            machined_proto::DOCUMENT_LIMIT
        )));
    }
    blocking(move || {
        let bundle = machine_config::read(&bytes).map_err(|found| convert::problems(&found))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Status::invalid_argument("the document is not UTF-8"))?;
        Ok((text, bundle))
    })
    .await?
}

/// Refuses a document that would leave the machine without a way to show who it is.
pub(super) fn reachable(bundle: &Bundle, now: SystemTime) -> Result<(), Status> {
    let Some(secrets) = &bundle.secrets else {
        return Err(convert::conflict(
            "machineCA",
            "the stream has no machine authority: nobody could reach the machine again".into(),
            "append the ClusterSecrets document",
        ));
    };
    if bundle.config.role().holds_keys() {
        return Ok(());
    }
    let why = match &secrets.machine_identity {
        None => "is missing: the worker's machine API could not show who it is",
        Some(identity) if !machine_pki::is_current(&identity.certificate, now) => {
            "has expired, or the machine's clock is wrong"
        }
        Some(_) => return Ok(()),
    };
    let hint = "machinectl gen config --secrets makes a new one";
    Err(convert::conflict("machineIdentity", why.into(), hint))
}

/// File work and long computations, off the thread that serves everybody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Status::internal(format!("the work did not end: {e}")))
}
