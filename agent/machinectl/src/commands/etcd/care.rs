//! `etcd status`, `health`, `alarms`, `defrag`.

use machined_proto::v1::{
    EtcdAlarmsRequest, EtcdDefragmentRequest, EtcdMemberStatus, EtcdStatusRequest,
    EtcdStatusResponse,
};
use serde_json::{Value, json};

use super::{any, shape, shown};
use crate::args::{AlarmsArgs, AlarmsVerb, Common, Format, Output};
use crate::failure::Failure;
use crate::files;
use crate::output::{self, table, yes};
use crate::session::Session;

const MIB: u64 = 1 << 20;

async fn asked(session: &Session, verb: &str) -> Result<EtcdStatusResponse, Failure> {
    let call = async |mut machine: super::Machine| machine.etcd_status(EtcdStatusRequest {}).await;
    // One that has lost its disk knows nobody: another may know more.
    let knows = |response: &EtcdStatusResponse| !response.members.is_empty();
    Ok(any(session, verb, call, knows).await?.1)
}

pub(super) async fn status(session: &Session, output: Output) -> Result<(), Failure> {
    let response = asked(session, "etcd status").await?;
    output::show(output.format, &value(&response), || {
        let header = [
            "NAME", "VERSION", "DB", "IN USE", "VOTE", "LEADS", "TERM", "INDEX", "APPLIED",
            "ALARMS", "WRONG",
        ];
        let mut text = table(&header, response.members.iter().map(row));
        if !response.unread.is_empty() {
            text.push_str(&format!("nothing can be read: {}\n", response.unread));
        }
        text
    })
}

fn row(status: &EtcdMemberStatus) -> Vec<String> {
    let member = status.member.clone().unwrap_or_default();
    let told = |text: String| match member.silent.as_str() {
        "" => text,
        _ => "-".to_owned(),
    };
    let wrong = status.errors.iter().chain([&member.silent]);
    let wrong: Vec<_> = wrong.filter(|why| !why.is_empty()).cloned().collect();
    vec![
        shown(&member),
        told(status.version.clone()),
        told(mebibytes(status.db_bytes)),
        told(mebibytes(status.db_bytes_in_use)),
        yes(!member.learner),
        yes(member.leader),
        told(status.raft_term.to_string()),
        told(status.raft_index.to_string()),
        told(member.applied_index.to_string()),
        status.alarms.join(","),
        wrong.join("; "),
    ]
}

fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB)
}

fn value(response: &EtcdStatusResponse) -> Value {
    let members = response.members.iter().map(|status| {
        let member = status.member.clone().unwrap_or_default();
        let mut value = shape(&member);
        let more = json!({
            "version": status.version,
            "dbBytes": status.db_bytes,
            "dbBytesInUse": status.db_bytes_in_use,
            "quotaBytes": status.quota_bytes,
            "raftTerm": status.raft_term,
            "raftIndex": status.raft_index,
            "alarms": status.alarms,
            "errors": status.errors,
        });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        value
    });
    json!({ "members": members.collect::<Vec<_>>(), "unread": response.unread })
}

pub(super) async fn health(session: &Session, output: Output) -> Result<(), Failure> {
    let response = asked(session, "etcd health").await?;
    let findings = response.findings.iter();
    let value = json!({
        "healthy": response.findings.is_empty(),
        "findings": findings
            .map(|f| json!({ "cause": f.cause, "next": f.next_step }))
            .collect::<Vec<_>>(),
        "advice": response.advice,
    });
    match output.format {
        Format::Table => {
            let mut text = match response.findings.as_slice() {
                [] => format!("{} members: all well\n", response.members.len()),
                findings => {
                    let rows = findings
                        .iter()
                        .map(|f| vec![f.cause.clone(), f.next_step.clone()]);
                    table(&["CAUSE", "NEXT"], rows)
                }
            };
            for advice in &response.advice {
                text.push_str(&format!("advice: {advice}\n"));
            }
            files::print(&text)?;
        }
        format => files::print(&output::encode(&value, format)?)?,
    }
    match response.findings.len() {
        0 => Ok(()),
        1 => Err(Failure::failed("1 check failed")),
        count => Err(Failure::failed(format!("{count} checks failed"))),
    }
}

pub(super) async fn alarms(session: &Session, args: &AlarmsArgs) -> Result<(), Failure> {
    let request = EtcdAlarmsRequest {
        disarm: args.verb == AlarmsVerb::Disarm,
        force: args.force,
    };
    let call = async move |mut machine: super::Machine| machine.etcd_alarms(request).await;
    let (_, response) = any(session, "etcd alarms", call, |_| true).await?;
    let alarms = response.alarms;
    let value = alarms.iter().map(|alarm| {
        json!({
            "id": format!("{:x}", alarm.member_id),
            "name": alarm.member,
            "alarm": alarm.alarm,
        })
    });
    let value = json!({ "alarms": value.collect::<Vec<_>>(), "disarmed": request.disarm });
    output::show(args.output.format, &value, || match alarms.as_slice() {
        [] => "no alarms\n".to_owned(),
        alarms => {
            let state = if request.disarm {
                "taken back"
            } else {
                "raised"
            };
            let rows = alarms
                .iter()
                .map(|a| vec![a.member.clone(), a.alarm.clone(), state.to_owned()]);
            table(&["NAME", "ALARM", "STATE"], rows)
        }
    })
}

pub(super) async fn defrag(common: &Common, session: &Session, force: bool) -> Result<(), Failure> {
    let verb = "etcd defrag";
    let members = match common.node.is_empty() {
        true => Vec::new(),
        false => session
            .targets()?
            .iter()
            .map(|target| target.label().to_owned())
            .collect(),
    };
    let request = EtcdDefragmentRequest { members, force };
    let call =
        async move |mut machine: super::Machine| machine.etcd_defragment(request.clone()).await;
    let (link, mut stream) = any(session, verb, call, |_| true).await?;
    // A member may be silent for minutes; the machine itself ends what takes too long.
    while let Some(told) = stream
        .message()
        .await
        .map_err(|status| link.told(verb, &status))?
    {
        files::print(&format!("{}: {}\n", told.member, told.message))?;
    }
    Ok(())
}
