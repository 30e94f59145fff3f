//! `reboot` and `shutdown`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use machined_proto::v1::{RebootRequest, ShutdownRequest};

use crate::args::{Common, PowerArgs, RebootArgs};
use crate::failure::Failure;
use crate::files;
use crate::fleet::{self, InTurn, Outcome};
use crate::output::table;
use crate::session::Session;
use crate::target::Target;
use crate::time;
use crate::wait::{self, Progress};

const HEADER: [&str; 3] = ["NODE", "RESULT", "DETAIL"];

/// Reboots the named machines: several of them one after the other, each well again before the next.
pub(super) async fn reboot(common: &Common, args: RebootArgs) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let targets = session.named_targets("reboot")?;
    if args.power.force || (targets.len() == 1 && !args.wait) {
        let asked = fleet::ask(targets, |target| async move {
            ordered(session, &target, args.power).await.map(drop)
        });
        return report(asked.await, "reboots");
    }
    // Whether the last one that was asked has begun to go down.
    let down = Cell::new(false);
    let turns = fleet::in_turn(targets, |target| {
        let down = &down;
        async move {
            down.set(false);
            let before = ordered(session, &target, args.power).await?;
            down.set(true);
            back(session, &target, &before, args.timeout).await
        }
    });
    conclude(common, session, args, turns.await, down.get())
}

/// Gives the order, and tells in which boot the machine was.
async fn ordered(session: &Session, target: &Target, args: PowerArgs) -> Result<String, Failure> {
    let link = session.connect(target).await?;
    let boot = wait::boot(&link).await?;
    let request = RebootRequest {
        drain_seconds: args.drain_seconds(),
        force: args.force,
    };
    link.call("reboot", link.machine().reboot(request)).await?;
    Ok(boot)
}

async fn back(
    session: &Session,
    target: &Target,
    before: &str,
    timeout: Duration,
) -> Result<Duration, Failure> {
    let began = Instant::now();
    let mut progress = Progress::new(target.label());
    progress.tell("reboot", "ordered");
    wait::rebooted(session, target, before, timeout, &mut progress).await?;
    Ok(began.elapsed())
}

fn conclude(
    common: &Common,
    session: &Session,
    args: RebootArgs,
    turns: InTurn<Duration>,
    down: bool,
) -> Result<(), Failure> {
    let row = |outcome: &Outcome<Duration>| {
        let (result, detail) = match &outcome.result {
            Ok(took) => (
                "rebooted",
                format!("well again after {}", time::span(*took)),
            ),
            Err(failure) if down => ("not well", first_line(failure)),
            Err(failure) => ("not rebooted", first_line(failure)),
        };
        vec![outcome.target.label().to_owned(), result.to_owned(), detail]
    };
    let left = |target: &Target| vec![target.label().to_owned(), "not begun".into(), String::new()];
    let rows = turns.outcomes.iter().map(row);
    files::print(&table(&HEADER, rows.chain(turns.left.iter().map(left))))?;
    // One that goes down already is not told so again.
    let failed = turns.outcomes.iter().filter(|o| o.result.is_err() && !down);
    let again: Vec<_> = failed.map(|o| &o.target).chain(&turns.left).collect();
    let next = (!again.is_empty()).then(|| {
        let nodes: Vec<_> = again.iter().map(|target| session.said(target)).collect();
        let mut command = format!("machinectl reboot -n {}", nodes.join(","));
        if let Some(context) = &common.context {
            command.push_str(&format!(" --context {context}"));
        }
        let drain = u64::from(args.power.drain_seconds());
        if drain != 60 {
            command.push_str(&format!(" --drain-timeout {drain}s"));
        }
        format!("when it is well, go on: {command}")
    });
    turns.conclude(next)
}

/// Shuts the named machines down.
pub(super) async fn shutdown(common: &Common, args: PowerArgs) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let outcomes = fleet::ask(session.named_targets("shutdown")?, |target| async move {
        let link = session.connect(&target).await?;
        let request = ShutdownRequest {
            drain_seconds: args.drain_seconds(),
            force: args.force,
        };
        link.call("shutdown", link.machine().shutdown(request))
            .await
            .map(drop)
    });
    report(outcomes.await, "shuts down")
}

fn report(outcomes: Vec<Outcome<()>>, does: &str) -> Result<(), Failure> {
    let text = match outcomes.as_slice() {
        [one] if one.result.is_ok() => format!("{}: {does}\n", one.target.label()),
        [_] => String::new(),
        several => table(
            &HEADER,
            several.iter().map(|outcome| {
                let (result, detail) = match &outcome.result {
                    Ok(()) => (does, String::new()),
                    Err(failure) => ("failed", first_line(failure)),
                };
                vec![outcome.target.label().to_owned(), result.to_owned(), detail]
            }),
        ),
    };
    files::print(&text)?;
    fleet::conclude(outcomes)
}

fn first_line(failure: &Failure) -> String {
    failure
        .message
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
