//! `etcd …`.

mod care;
mod orders;

use std::time::{Duration, Instant};

use machined_proto::v1::machine_service_client::MachineServiceClient;
use machined_proto::v1::{
    EtcdForfeitLeadershipRequest, EtcdMember, EtcdMembersRequest, EtcdRemoveMemberRequest,
    EtcdSnapshotRequest,
};
use serde_json::json;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::args::{Common, EtcdCommand, Output, SnapshotArgs};
use crate::client::Link;
use crate::failure::Failure;
use crate::files::{self, NewFile};
use crate::fleet;
use crate::output::{self, table, yes};
use crate::session::Session;
use crate::snapshot::Checked;
use crate::time;

/// How often the way of a snapshot is told.
const TOLD: Duration = Duration::from_secs(2);

const MIB: u64 = 1 << 20;

/// Shows, takes out, copies.
pub(super) async fn run(common: &Common, command: EtcdCommand) -> Result<(), Failure> {
    let session = Session::open(common)?;
    match command {
        EtcdCommand::Members { output } => members(&session, output).await,
        EtcdCommand::Remove { member, force } => remove(&session, &member, force).await,
        EtcdCommand::ForfeitLeadership => forfeit(&session).await,
        EtcdCommand::Snapshot(args) => snapshot(common, &session, &args).await,
        EtcdCommand::Status { output } => care::status(&session, output).await,
        EtcdCommand::Health { output } => care::health(&session, output).await,
        EtcdCommand::Alarms(args) => care::alarms(&session, &args).await,
        EtcdCommand::Defrag { force } => care::defrag(common, &session, force).await,
        EtcdCommand::Leave { discard, force } => orders::leave(&session, discard, force).await,
        EtcdCommand::Join => orders::join(&session).await,
        EtcdCommand::Recover(args) => orders::recover(&session, &args).await,
    }
}

type Machine = MachineServiceClient<Channel>;

/// Any machine with a member will do; the first whose answer is taken, or else the last.
async fn any<T>(
    session: &Session,
    verb: &str,
    call: impl AsyncFn(Machine) -> Result<Response<T>, Status>,
    taken: impl Fn(&T) -> bool,
) -> Result<(Link, T), Failure> {
    let (mut first, mut last) = (None, None);
    for target in session.targets()? {
        let answer = async {
            let link = session.connect(&target).await?;
            let answer = link.call(verb, call(link.machine())).await?;
            Ok::<_, Failure>((link, answer))
        };
        match answer.await {
            Ok(found) if taken(&found.1) => return Ok(found),
            Ok(found) => last = Some(found),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    let none = || first.unwrap_or_else(|| Failure::usage("no machine to ask"));
    last.ok_or_else(none)
}

async fn listed(session: &Session, verb: &str) -> Result<(Link, Vec<EtcdMember>), Failure> {
    let call = async |mut machine: Machine| machine.etcd_members(EtcdMembersRequest {}).await;
    let (link, response) = any(session, verb, call, |_| true).await?;
    Ok((link, response.members))
}

async fn members(session: &Session, output: Output) -> Result<(), Failure> {
    let (_, members) = listed(session, "etcd members").await?;
    let value = json!({ "members": members.iter().map(shape).collect::<Vec<_>>() });
    output::show(output.format, &value, || {
        let header = [
            "NAME",
            "ID",
            "VOTE",
            "LEADS",
            "APPLIED",
            "PEER URLS",
            "SILENT",
        ];
        let rows = members.iter().map(|member| {
            vec![
                shown(member),
                format!("{:x}", member.id),
                yes(!member.learner),
                yes(member.leader),
                match member.silent.as_str() {
                    "" => member.applied_index.to_string(),
                    _ => "-".to_owned(),
                },
                member.peer_urls.join(","),
                member.silent.clone(),
            ]
        });
        table(&header, rows)
    })
}

fn shape(member: &EtcdMember) -> serde_json::Value {
    json!({
        "id": format!("{:x}", member.id),
        "name": member.name,
        "peerURLs": member.peer_urls,
        "learner": member.learner,
        "leader": member.leader,
        "appliedIndex": member.applied_index,
        "silent": member.silent,
    })
}

fn shown(member: &EtcdMember) -> String {
    match member.name.as_str() {
        "" => "(not started)".to_owned(),
        name => name.to_owned(),
    }
}

async fn remove(session: &Session, wanted: &str, force: bool) -> Result<(), Failure> {
    let verb = "etcd remove";
    let (link, members) = listed(session, verb).await?;
    let is = |member: &&EtcdMember| member.name == wanted || format!("{:x}", member.id) == wanted;
    let found: Vec<_> = members.iter().filter(is).collect();
    let [member] = found.as_slice() else {
        let names: Vec<_> = members
            .iter()
            .map(|m| format!("{} ({:x})", shown(m), m.id))
            .collect();
        let what = match found.len() {
            0 => "no member of etcd is called",
            _ => "several members of etcd are called",
        };
        return Err(Failure::usage(format!("{what} {wanted}"))
            .next(format!("give a name or an id of: {}", names.join(", "))));
    };
    let request = EtcdRemoveMemberRequest {
        id: member.id,
        force,
    };
    let mut machine = link.machine();
    link.call(verb, machine.etcd_remove_member(request)).await?;
    files::print(&format!("{} ({:x}) is removed\n", shown(member), member.id))
}

async fn forfeit(session: &Session) -> Result<(), Failure> {
    let verb = "etcd forfeit-leadership";
    let outcomes = fleet::ask(session.named_targets(verb)?, |target| async move {
        let link = session.connect(&target).await?;
        let mut machine = link.machine();
        let call = machine.etcd_forfeit_leadership(EtcdForfeitLeadershipRequest {});
        Ok(link.call(verb, call).await?.leader)
    })
    .await;
    let lines: String = fleet::good(&outcomes)
        .map(|(node, leader)| match leader.as_str() {
            "" => format!("{node}: it did not lead, or nobody else can\n"),
            leader => format!("{node}: {leader} leads now\n"),
        })
        .collect();
    files::print(&lines)?;
    fleet::conclude(outcomes)
}

async fn snapshot(common: &Common, session: &Session, args: &SnapshotArgs) -> Result<(), Failure> {
    let verb = "etcd snapshot";
    let began = Instant::now();
    let mut file = NewFile::open(&args.file, args.force)?;
    let (link, _) = listed(session, verb).await?;
    let mut machine = link.machine();
    let call = machine.etcd_snapshot(EtcdSnapshotRequest {});
    let mut stream = link.call(verb, call).await?;
    let (mut checked, mut told) = (Checked::default(), Instant::now());
    loop {
        let part = tokio::time::timeout(common.request_timeout, stream.message()).await;
        let part = part.map_err(|_| {
            let waited = time::span(common.request_timeout);
            Failure::unreachable(format!(
                "{}: {verb}: nothing more came within {waited}",
                link.target()
            ))
        })?;
        let Some(part) = part.map_err(|status| link.told(verb, &status))? else {
            break;
        };
        checked.push(&part.blob);
        file.write(&part.blob)?;
        if told.elapsed() >= TOLD {
            told = Instant::now();
            let all = checked.size() + part.remaining_bytes;
            let (came, all) = (checked.size() / MIB, all.div_ceil(MIB));
            crate::tell!("{came} of {all} MiB");
        }
    }
    let size = checked.size();
    let digest = checked.finish().map_err(|why| {
        Failure::failed(format!("{}: {verb}: {why}; nothing is kept", link.target()))
            .next("try again, or another machine: -n NODE")
    })?;
    file.keep()?;
    files::print(&format!(
        "{}: {size} bytes, sha256 {digest}, in {}\n",
        args.file.display(),
        time::span(began.elapsed())
    ))
}
