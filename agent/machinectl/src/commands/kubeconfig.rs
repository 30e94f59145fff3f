//! `kubeconfig`.

use std::path::{Path, PathBuf};

use machined_proto::v1::KubeconfigRequest;

use crate::args::{Common, KubeconfigArgs};
use crate::context;
use crate::failure::Failure;
use crate::files::{self, Access};
use crate::kubeconfig::{self, Merge};
use crate::session::Session;

/// Gets an administrator's kubeconfig and merges it.
pub(super) async fn run(common: &Common, args: KubeconfigArgs) -> Result<(), Failure> {
    let session = Session::open(common)?;
    let fetched = fetch(&session, &args).await?;
    let merge = Merge {
        server: args.server.as_deref(),
        force: args.force,
        keep_current: args.keep_current,
    };
    let path = match &args.file {
        Some(path) => path.clone(),
        None => default_path()?,
    };
    if path == Path::new("-") {
        return files::print(&kubeconfig::merge("", &fetched, merge)?.text);
    }
    let existing = if path.symlink_metadata().is_ok() {
        files::read_text(&path)?
    } else {
        String::new()
    };
    let merged = kubeconfig::merge(&existing, &fetched, merge).map_err(|failure| Failure {
        message: format!("{}: {}", path.display(), failure.message),
        ..failure
    })?;
    files::write(&path, merged.text.as_bytes(), Access::Owner)?;
    crate::tell!("context {} is in {}", merged.context, path.display());
    Ok(())
}

/// Any control plane machine will do; the first that answers is taken.
async fn fetch(session: &Session, args: &KubeconfigArgs) -> Result<String, Failure> {
    let seconds = args.lifetime.map_or(0, |lifetime| lifetime.as_secs());
    let request = KubeconfigRequest {
        lifetime_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
    };
    let mut first = None;
    for target in session.targets()? {
        let answer = async {
            let link = session.connect(&target).await?;
            link.call("kubeconfig", link.machine().kubeconfig(request))
                .await
        };
        match answer.await {
            Ok(answer) => {
                return String::from_utf8(answer.kubeconfig).map_err(|_| {
                    Failure::failed(format!("{}: its kubeconfig is no text", target.label()))
                });
            }
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.unwrap_or_else(|| Failure::usage("no node")))
}

/// Where kubectl would write: the first file of `KUBECONFIG`, else the one below the home folder.
fn default_path() -> Result<PathBuf, Failure> {
    let listed = std::env::var_os("KUBECONFIG");
    let first = listed
        .iter()
        .flat_map(std::env::split_paths)
        .find(|path| !path.as_os_str().is_empty());
    match first {
        Some(path) => Ok(path),
        None => Ok(context::home()?.join(".kube/config")),
    }
}
