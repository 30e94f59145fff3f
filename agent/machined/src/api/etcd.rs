//! etcd's members: seen, taken out, copied.

pub(super) mod care;
pub(super) mod orders;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use machine_plan::membership::{Member, MemberId, removal_refused};
use machine_plan::observed::Probe;
use machine_plan::turn;
use machined_proto::v1;
use tonic::Status;

use super::Hands;

/// All members, as one with a vote lists them.
pub(super) async fn members(hands: &dyn Hands) -> Result<v1::EtcdMembersResponse, Status> {
    let members = hands.members().await.map_err(Status::unavailable)?;
    let members = members.into_iter().map(shown).collect();
    Ok(v1::EtcdMembersResponse { members })
}

/// Takes out a member that is gone. One that answers is not, and one that the others cannot do
/// without stays; both are said before anything is done. Returns its name.
pub(super) async fn remove(
    hands: &dyn Hands,
    request: &v1::EtcdRemoveMemberRequest,
) -> Result<String, Status> {
    let members = hands.members().await.map_err(Status::unavailable)?;
    let id = MemberId(request.id);
    let member = members.iter().find(|member| member.id == id);
    let member = member.ok_or_else(|| Status::not_found(format!("etcd has no member {id}")))?;
    let refused = match removal_refused(&members, id) {
        None if member.answers() && !request.force => Some(format!(
            "{} answers: shut its machine down first, or say that it is meant (force)",
            member.shown()
        )),
        None if !request.force => {
            let turn = hands.whose_turn().await;
            let turn =
                turn.map_err(|why| Status::unavailable(format!("{why}; --force does not ask")))?;
            turn::removal_refused(&members, id, turn.as_ref())
        }
        refused => refused,
    };
    if let Some(why) = refused {
        return Err(Status::failed_precondition(why));
    }
    let name = member.shown().to_owned();
    let removed = hands.remove_member(id, name.clone()).await;
    removed.map_err(Status::unavailable)?;
    Ok(name)
}

/// The whole of etcd's data, as etcdctl would save it: its last 32 bytes are the SHA-256 of the rest.
pub(super) async fn snapshot(
    hands: &dyn Hands,
) -> Result<BoxStream<'static, Result<v1::EtcdSnapshotResponse, Status>>, Status> {
    let stream = hands.snapshot().await.map_err(Status::unavailable)?;
    let stream = stream.map(|part| match part {
        Ok((blob, remaining_bytes)) => Ok(v1::EtcdSnapshotResponse {
            blob,
            remaining_bytes,
        }),
        Err(why) => Err(Status::unavailable(why)),
    });
    Ok(stream.boxed())
}

fn shown(member: Member) -> v1::EtcdMember {
    let (applied_index, silent) = match &member.applied {
        Probe::Seen(index) => (*index, String::new()),
        Probe::Unreadable(why) => (0, why.clone()),
        Probe::Absent => (0, "another member answers at its address".to_owned()),
    };
    v1::EtcdMember {
        id: member.id.0,
        name: member.name,
        peer_urls: member.peer_urls,
        learner: member.learner,
        leader: member.leader,
        applied_index,
        silent,
    }
}

#[cfg(test)]
mod tests;
