//! `etcd leave`, `join`, `recover`.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use machined_proto::v1::etcd_recover_request::Part;
use machined_proto::v1::{
    EtcdJoinRequest, EtcdLeaveRequest, EtcdRecoverRequest, EtcdRecoverResponse, EtcdRecoverWish,
};
use sha2::{Digest, Sha256};

use crate::args::RecoverArgs;
use crate::client::Link;
use crate::failure::Failure;
use crate::files;
use crate::session::Session;
use crate::snapshot::Checked;
use crate::time;

/// What is sent at once.
const PART: usize = 256 << 10;

/// The slowest way that is waited for.
const BYTES_A_SECOND: u64 = 256 << 10;

/// The machine asks each member first, and waits for those that are silent.
const SURVEY: Duration = Duration::from_secs(90);

pub(super) async fn leave(session: &Session, discard: bool, force: bool) -> Result<(), Failure> {
    let verb = "etcd leave";
    let target = session.target(verb)?;
    let link = session.connect(&target).await?;
    let mut machine = link.machine();
    let call = machine.etcd_leave(EtcdLeaveRequest { discard, force });
    let order = link.call(verb, call).await?.order;
    let node = target.label();
    let then = match discard {
        true => format!("it joins anew: machinectl status --wait -n {node}"),
        false => format!("it stays out until: machinectl etcd join -n {node}"),
    };
    files::print(&format!("{node}: ordered as {order}; {then}\n"))
}

pub(super) async fn join(session: &Session) -> Result<(), Failure> {
    let verb = "etcd join";
    let target = session.target(verb)?;
    let link = session.connect(&target).await?;
    let mut machine = link.machine();
    link.call(verb, machine.etcd_join(EtcdJoinRequest {}))
        .await?;
    let node = target.label();
    files::print(&format!(
        "{node}: it joins: machinectl status --wait -n {node}\n"
    ))
}

pub(super) async fn recover(session: &Session, args: &RecoverArgs) -> Result<(), Failure> {
    let verb = "etcd recover";
    let target = session.target(verb)?;
    let mut snapshot = match &args.from {
        Some(path) => Some(Snapshot::open(path)?),
        None => None,
    };
    let wish = |dry_run| EtcdRecoverWish {
        sha256: snapshot
            .as_ref()
            .map_or_else(String::new, |s| s.sha256.clone()),
        bytes: snapshot.as_ref().map_or(0, |s| s.bytes),
        dry_run,
        force: args.force,
    };
    let (dry, real) = (wish(true), wish(false));
    let link = session.connect(&target).await?;
    let limit = session.limits.call + SURVEY;
    let explained = send(&link, limit, dry, stream::empty()).await?;
    for line in &explained.explanation {
        files::print(&format!("- {line}\n"))?;
    }
    if !explained.refused.is_empty() {
        return Err(Failure::failed(format!(
            "{}: {verb}: refused: {}",
            link.target(),
            explained.refused
        )));
    }
    if args.dry_run {
        return files::print("nothing is done: say it again without --dry-run\n");
    }
    let limit = limit + Duration::from_secs(real.bytes / BYTES_A_SECOND);
    let parts = snapshot.as_mut().map(Snapshot::parts).transpose()?;
    let parts = match parts {
        Some(parts) => parts.left_stream(),
        None => stream::empty().right_stream(),
    };
    let ordered = send(&link, limit, real, parts).await?;
    let node = target.label();
    files::print(&format!(
        "{node}: ordered as {}: machinectl status --wait -n {node}\n",
        ordered.order
    ))
}

async fn send(
    link: &Link,
    limit: Duration,
    wish: EtcdRecoverWish,
    parts: impl Stream<Item = Vec<u8>> + Send + 'static,
) -> Result<EtcdRecoverResponse, Failure> {
    let verb = "etcd recover";
    let part = |part| EtcdRecoverRequest { part: Some(part) };
    let first = stream::iter([part(Part::Wish(wish))]);
    let messages = first.chain(parts.map(move |blob| part(Part::Blob(blob))));
    let mut machine = link.machine();
    match tokio::time::timeout(limit, machine.etcd_recover(messages)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(link.told(verb, &status)),
        Err(_) => Err(Failure::unreachable(format!(
            "{}: {verb}: no answer within {}",
            link.target(),
            time::span(limit)
        ))),
    }
}

/// A snapshot that was found whole.
struct Snapshot {
    file: File,
    sha256: String,
    bytes: u64,
}

impl Snapshot {
    fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::usage(format!("read {}: {e}", path.display()));
        let mut file = File::open(path).map_err(failed)?;
        let (mut whole, mut checked) = (Sha256::new(), Checked::default());
        let mut part = vec![0; PART];
        loop {
            let read = file.read(&mut part).map_err(failed)?;
            if read == 0 {
                break;
            }
            whole.update(&part[..read]);
            checked.push(&part[..read]);
        }
        let bytes = checked.size();
        checked
            .finish()
            .map_err(|_| Failure::usage(format!("{} is no whole snapshot", path.display())))?;
        let sha256 = data_encoding::HEXLOWER.encode(&whole.finalize());
        Ok(Self {
            file,
            sha256,
            bytes,
        })
    }

    // What cannot be read is left out: the machine finds that it is not all, and does nothing.
    fn parts(&mut self) -> Result<impl Stream<Item = Vec<u8>> + Send + 'static, Failure> {
        let failed = |e: std::io::Error| Failure::failed(format!("read the snapshot: {e}"));
        self.file.rewind().map_err(failed)?;
        let file = self.file.try_clone().map_err(failed)?;
        Ok(stream::unfold(file, async |mut file| {
            let mut part = vec![0; PART];
            let read = file.read(&mut part).ok().filter(|read| *read > 0)?;
            part.truncate(read);
            Some((part, file))
        }))
    }
}
