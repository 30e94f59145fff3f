//! etcd's health, alarms and defragmentation.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use machine_plan::etcd_health::{EtcdSeen, FRAGMENTED, MemberSeen};
use machine_plan::membership::{Member, absence_refused};
use machine_plan::observed::Probe;
use machined_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::shown;
use crate::api::Hands;

/// Every member's own words, and all that is wrong.
pub(in crate::api) async fn status(hands: &dyn Hands) -> Result<v1::EtcdStatusResponse, Status> {
    let etcd = hands.etcd().await.map_err(Status::failed_precondition)?;
    let findings = etcd.findings().into_iter().map(|finding| v1::EtcdFinding {
        cause: finding.cause,
        next_step: finding.next,
    });
    Ok(v1::EtcdStatusResponse {
        findings: findings.collect(),
        advice: etcd.advice(),
        unread: match &etcd.read {
            Probe::Unreadable(why) => why.clone(),
            _ => String::new(),
        },
        members: etcd.members.into_iter().map(member).collect(),
    })
}

fn member(seen: MemberSeen) -> v1::EtcdMemberStatus {
    let told = seen.told.seen().cloned().unwrap_or_default();
    v1::EtcdMemberStatus {
        quota_bytes: told.quota(),
        member: Some(shown(seen.member)),
        version: told.version,
        db_bytes: told.db_bytes,
        db_bytes_in_use: told.db_bytes_in_use,
        raft_term: told.raft_term,
        raft_index: told.raft_index,
        alarms: seen.alarms,
        errors: told.errors,
    }
}

/// All alarms; taken back where that is asked for and nothing speaks against it.
pub(in crate::api) async fn alarms(
    hands: &dyn Hands,
    request: v1::EtcdAlarmsRequest,
) -> Result<v1::EtcdAlarmsResponse, Status> {
    let etcd = read(hands).await?;
    let raised = |seen: &MemberSeen| {
        let (id, name) = (seen.member.id, seen.member.shown().to_owned());
        let alarms = seen.alarms.clone().into_iter();
        alarms.map(move |alarm| (id, name.clone(), alarm))
    };
    let raised: Vec<_> = etcd.members.iter().flat_map(raised).collect();
    if request.disarm {
        let refused = raised
            .iter()
            .find_map(|(id, _, alarm)| etcd.disarm_refused(*id, alarm));
        if let Some(why) = refused.filter(|_| !request.force) {
            return Err(Status::failed_precondition(why));
        }
        for (id, _, alarm) in &raised {
            let disarmed = hands.disarm(*id, alarm.clone()).await;
            disarmed.map_err(Status::unavailable)?;
        }
    }
    let alarms = raised.into_iter().map(|(id, member, alarm)| v1::EtcdAlarm {
        member_id: id.0,
        member,
        alarm,
    });
    Ok(v1::EtcdAlarmsResponse {
        alarms: alarms.collect(),
    })
}

/// One member after the other, followers first. Refused before the first where something is not well.
pub(in crate::api) async fn defragment(
    hands: Arc<dyn Hands>,
    request: v1::EtcdDefragmentRequest,
) -> Result<BoxStream<'static, Result<v1::EtcdDefragmentResponse, Status>>, Status> {
    let etcd = read(&*hands).await?;
    let chosen = chosen(&etcd, &request)?;
    let (say, said) = mpsc::channel(16);
    // It goes on where the caller hangs up: what is begun ends by itself, the next is not begun.
    tokio::spawn(async move {
        for seen in chosen {
            let name = seen.member.shown().to_owned();
            let tell = |message: String| {
                let member = name.clone();
                say.send(Ok(v1::EtcdDefragmentResponse { member, message }))
            };
            let told = seen.told.seen().cloned().unwrap_or_default();
            if told.fragmentation() < FRAGMENTED && !request.force {
                let why = format!(
                    "left as it is: {} % of {} bytes hold nothing, and a pause is worth it from {FRAGMENTED} %",
                    told.fragmentation(),
                    told.db_bytes
                );
                if tell(why).await.is_err() {
                    return;
                }
                continue;
            }
            if let Err(why) = one(&*hands, &seen.member, request.force, &tell).await {
                let why = format!("{name}: {why}; nothing more is done");
                let _ = say.send(Err(Status::failed_precondition(why))).await;
                return;
            }
        }
    });
    Ok(ReceiverStream::new(said).boxed())
}

async fn one<F>(
    hands: &dyn Hands,
    member: &Member,
    force: bool,
    tell: &impl Fn(String) -> F,
) -> Result<(), String>
where
    F: Future<
        Output = Result<(), mpsc::error::SendError<Result<v1::EtcdDefragmentResponse, Status>>>,
    >,
{
    let gone = "nobody listens any more".to_owned();
    // Who leads may be another by now.
    if let Some(next) = hands.replace_leader(member.clone()).await?
        && tell(format!("{next} leads now")).await.is_err()
    {
        return Err(gone);
    }
    let before = well(hands, member, force).await?;
    if tell(format!("begun, with {before} bytes")).await.is_err() {
        return Err(gone);
    }
    hands.defragment(member.clone()).await?;
    let after = well(hands, member, force).await?;
    // What was said is for people: the work is done.
    let _ = tell(format!("done: {before} bytes before, {after} after")).await;
    Ok(())
}

// The size of its database, if all is well.
async fn well(hands: &dyn Hands, member: &Member, force: bool) -> Result<u64, String> {
    let etcd = hands.etcd().await?;
    if let Some(why) = unwell(&etcd).filter(|_| !force) {
        return Err(why);
    }
    let seen = etcd.members.iter().find(|seen| seen.member.id == member.id);
    let told = seen.and_then(|seen| seen.told.seen());
    told.map(|told| told.db_bytes)
        .ok_or_else(|| "it does not answer".to_owned())
}

// An alarm for space is what a defragmentation is for.
fn unwell(etcd: &EtcdSeen) -> Option<String> {
    let mut findings = etcd.findings().into_iter();
    findings
        .find(|finding| !finding.cause.ends_with("NOSPACE"))
        .map(|finding| finding.cause)
}

fn chosen(etcd: &EtcdSeen, request: &v1::EtcdDefragmentRequest) -> Result<Vec<MemberSeen>, Status> {
    let is = |seen: &MemberSeen, wanted: &String| {
        seen.member.name == *wanted || seen.member.id.to_string() == *wanted
    };
    for wanted in &request.members {
        if !etcd.members.iter().any(|seen| is(seen, wanted)) {
            return Err(Status::not_found(format!("etcd has no member {wanted}")));
        }
    }
    if !request.force {
        if let Some(why) = unwell(etcd) {
            return Err(Status::failed_precondition(format!(
                "a member that is defragmented serves nothing meanwhile, and etcd is not well: {why}"
            )));
        }
        let members = etcd.listed();
        let alone = members.len() == 1;
        let needed = members
            .iter()
            .find_map(|member| absence_refused(&members, member.id));
        let why = match alone {
            true => Some("it is the only member: the cluster stands still meanwhile".to_owned()),
            false => needed,
        };
        if let Some(why) = why {
            let why = format!("{why}; say that it is meant (force)");
            return Err(Status::failed_precondition(why));
        }
    }
    let wanted = |seen: &&MemberSeen| {
        request.members.is_empty() || request.members.iter().any(|name| is(seen, name))
    };
    let mut chosen: Vec<_> = etcd.members.iter().filter(wanted).cloned().collect();
    chosen.sort_by_key(|seen| seen.member.leader);
    Ok(chosen)
}

async fn read(hands: &dyn Hands) -> Result<EtcdSeen, Status> {
    let etcd = hands.etcd().await.map_err(Status::failed_precondition)?;
    match &etcd.read {
        Probe::Unreadable(why) => Err(Status::unavailable(format!("etcd serves nothing: {why}"))),
        _ => Ok(etcd),
    }
}
