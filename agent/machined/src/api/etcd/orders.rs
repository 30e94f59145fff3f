//! Orders about this machine's member of etcd: asked about before they are in the ledger, carried out
//! by the reconciler.

use std::path::PathBuf;

use futures_util::{Stream, StreamExt};
use machine_plan::membership::{Member, MemberId, discard_refused, removal_refused};
use machine_plan::observed::Probe;
use machine_plan::order::{EtcdVerb, Source};
use machine_plan::turn::Purpose;
use machined_proto::v1;
use machined_proto::v1::etcd_recover_request::Part;
use sha2::{Digest, Sha256};
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;
use tonic::Status;

use crate::api::Hands;
use crate::ledger::Ledger;

/// A snapshot's database comes in pages, and its digest behind them.
const PAGE: u64 = 512;
const DIGEST: u64 = 32;

/// What may be ordered, of leaving and discarding.
pub(in crate::api) async fn leave(
    hands: &dyn Hands,
    request: v1::EtcdLeaveRequest,
) -> Result<EtcdVerb, Status> {
    let survey = hands.survey().await.map_err(Status::failed_precondition)?;
    let own = |members: &[Member]| {
        let is = |m: &&Member| Some(m.id) == survey.own || m.peer_urls.contains(&survey.peer_url);
        members.iter().find(is).map(|m| m.id)
    };
    if request.discard {
        if !request.force {
            let members = hands.members_elsewhere().await.map_err(|why| {
                Status::failed_precondition(format!(
                    "no other member with a quorum is known to have this data or newer: {why}"
                ))
            })?;
            match own(&members) {
                Some(id) => may_discard(hands, &members, id).await?,
                None if survey.own.is_none() && survey.data != Probe::Absent => {
                    return Err(Status::failed_precondition(format!(
                        "this machine does not remember which member it is, and none is listed at {}: \
                         if machinectl etcd members shows that it is none, --force discards its data",
                        survey.peer_url
                    )));
                }
                None => {}
            }
        }
        return Ok(EtcdVerb::Discard);
    }
    let members = hands.members().await.map_err(Status::unavailable)?;
    let id = own(&members).ok_or_else(|| {
        Status::failed_precondition("this machine is no member of etcd: there is nothing to leave")
    })?;
    match removal_refused(&members, id) {
        Some(why) => Err(Status::failed_precondition(why)),
        None => Ok(EtcdVerb::Leave),
    }
}

/// The others go on without it, and nobody else is to be away meanwhile.
async fn may_discard(hands: &dyn Hands, members: &[Member], id: MemberId) -> Result<(), Status> {
    match discard_refused(members, id) {
        Some(why) => Err(Status::failed_precondition(format!(
            "{why}: machinectl etcd leave, then etcd join, takes it out before its data goes"
        ))),
        None => hands
            .may_go_down(Purpose::Leave)
            .await
            .map_err(Status::failed_precondition),
    }
}

/// What a recovery would mean, and why it is refused.
pub(in crate::api) async fn recovery(
    hands: &dyn Hands,
    wish: &v1::EtcdRecoverWish,
) -> Result<(Source, v1::EtcdRecoverResponse), Status> {
    let from = source(wish)?;
    let survey = hands.survey().await.map_err(Status::failed_precondition)?;
    let refused = survey
        .forbidden(&from)
        .or_else(|| survey.refused().filter(|_| !wish.force));
    let response = v1::EtcdRecoverResponse {
        order: String::new(),
        refused: refused.unwrap_or_default(),
        explanation: survey.explained(&from),
    };
    Ok((from, response))
}

fn source(wish: &v1::EtcdRecoverWish) -> Result<Source, Status> {
    if wish.sha256.is_empty() {
        return Ok(Source::Data);
    }
    let sha256 = wish.sha256.clone();
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if sha256.len() != 64 || !sha256.chars().all(hex) {
        let why = "sha256 is 64 hexadecimal digits, in small letters";
        return Err(Status::invalid_argument(why));
    }
    match wish.bytes % PAGE {
        DIGEST if wish.bytes > DIGEST => Ok(Source::Snapshot { sha256 }),
        _ => Err(Status::invalid_argument(format!(
            "a file of {} bytes is no snapshot: pages of {PAGE} bytes and a digest of {DIGEST}",
            wish.bytes
        ))),
    }
}

/// Takes a snapshot in, whole and checked twice: by the digest that was told, and by its own.
pub(in crate::api) async fn receive(
    ledger: &Ledger,
    wish: &v1::EtcdRecoverWish,
    parts: impl Stream<Item = Result<v1::EtcdRecoverRequest, Status>>,
) -> Result<(), Status> {
    let path = ledger.etcd_snapshot(&wish.sha256);
    let temporary = path.with_extension("part");
    let received = write(&temporary, wish, parts).await;
    let kept = match received {
        Ok(()) => {
            let kept = tokio::fs::rename(&temporary, &path).await;
            let synced = kept.and_then(|()| match path.parent() {
                Some(folder) => crate::durable::sync(folder),
                None => Ok(()),
            });
            synced.map_err(|e| Status::internal(format!("cannot keep the snapshot: {e}")))
        }
        Err(status) => Err(status),
    };
    if kept.is_err() {
        let _ = tokio::fs::remove_file(&temporary).await;
    }
    kept
}

async fn write(
    path: &PathBuf,
    wish: &v1::EtcdRecoverWish,
    parts: impl Stream<Item = Result<v1::EtcdRecoverRequest, Status>>,
) -> Result<(), Status> {
    let failed = |e: std::io::Error| Status::internal(format!("cannot write the snapshot: {e}"));
    let _ = tokio::fs::remove_file(path).await;
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.await.map_err(failed)?;
    let (mut whole, mut data, mut size) = (Sha256::new(), Sha256::new(), 0);
    let mut own = Vec::new();
    let mut parts = std::pin::pin!(parts);
    while let Some(part) = parts.next().await {
        let Some(Part::Blob(blob)) = part?.part else {
            return Err(Status::invalid_argument("only the first message is a wish"));
        };
        // Where the database ends, its digest begins.
        let left = (wish.bytes - DIGEST).saturating_sub(size);
        let split = usize::try_from(left).unwrap_or(usize::MAX).min(blob.len());
        size += blob.len() as u64;
        if size > wish.bytes {
            break;
        }
        let (database, digest) = blob.split_at(split);
        data.update(database);
        own.extend_from_slice(digest);
        whole.update(&blob);
        file.write_all(&blob).await.map_err(failed)?;
    }
    let told = data_encoding::HEXLOWER.encode(&whole.finalize());
    if size != wish.bytes || told != wish.sha256 || own[..] != data.finalize()[..] {
        return Err(Status::invalid_argument(format!(
            "the {size} bytes that came are not the snapshot that was told; nothing is done"
        )));
    }
    file.sync_all().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture;

    fn snapshot(data: &[u8]) -> (Vec<u8>, v1::EtcdRecoverWish) {
        let bytes = [data, &Sha256::digest(data)[..]].concat();
        let wish = v1::EtcdRecoverWish {
            sha256: data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)),
            bytes: bytes.len() as u64,
            ..v1::EtcdRecoverWish::default()
        };
        (bytes, wish)
    }

    fn parts(
        bytes: &[u8],
        step: usize,
    ) -> impl Stream<Item = Result<v1::EtcdRecoverRequest, Status>> {
        let part = |blob: &[u8]| {
            let part = Some(Part::Blob(blob.to_vec()));
            Ok(v1::EtcdRecoverRequest { part })
        };
        let parts: Vec<_> = bytes.chunks(step).map(part).collect();
        futures_util::stream::iter(parts)
    }

    #[tokio::test]
    async fn only_a_whole_snapshot_is_kept() {
        let scratch = crate::testing::Scratch::new();
        let ledger = fixture::ledger(scratch.path());
        let (bytes, wish) = snapshot(&[7; 1024]);
        let path = ledger.etcd_snapshot(&wish.sha256);
        assert!(source(&wish).is_ok());
        let mut turned = bytes.clone();
        turned[100] ^= 1;
        let more = [&bytes[..], b"x"].concat();
        for damaged in [&bytes[..1000], &turned[..], &more[..], &[]] {
            let received = receive(&ledger, &wish, parts(damaged, 100)).await;
            assert!(received.is_err() && !path.exists(), "{}", damaged.len());
        }
        // A digest that fits a file that is none.
        let mut other = bytes.clone();
        let last = other.len() - 1;
        other[last] ^= 1;
        let lied = v1::EtcdRecoverWish {
            sha256: data_encoding::HEXLOWER.encode(&Sha256::digest(&other)),
            ..wish.clone()
        };
        assert!(receive(&ledger, &lied, parts(&other, 100)).await.is_err());
        for step in [1, 33, 1000, 5000] {
            receive(&ledger, &wish, parts(&bytes, step)).await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let folder = path.parent().unwrap();
        let files = std::fs::read_dir(folder).unwrap().flatten();
        assert_eq!(files.count(), 1, "nothing half is left");
        for (sha256, bytes) in [("aa", 544), (&wish.sha256[..], 512), (&wish.sha256[..], 32)] {
            let sha256 = sha256.to_owned();
            let wish = v1::EtcdRecoverWish {
                sha256,
                bytes,
                ..wish.clone()
            };
            assert!(source(&wish).is_err());
        }
    }
}
