//! `bootstrap`.

use machined_proto::v1::BootstrapRequest;

use crate::args::{Common, Wait};
use crate::failure::Failure;
use crate::files;
use crate::session::Session;
use crate::wait::{self, Goal};

/// Orders one machine to begin a new cluster. Never several at once: each would begin its own.
pub(super) async fn run(common: &Common, wait: Wait) -> Result<(), Failure> {
    let session = Session::open(common)?;
    let target = session.target("bootstrap")?;
    let link = session.connect(&target).await?;
    let order = link
        .call("bootstrap", link.machine().bootstrap(BootstrapRequest {}))
        .await?
        .order;
    drop(link);
    files::print(&format!(
        "{}: bootstrap ordered ({order})\n",
        target.label()
    ))?;
    if wait.wait {
        wait::until(&session, &target, Goal::Ready, wait.timeout).await?;
        files::print(&format!("{}: Ready\n", target.label()))?;
    }
    Ok(())
}
