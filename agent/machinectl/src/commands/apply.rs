//! `apply-config`.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use machine_pki::code::EnrolmentCode;
use machined_proto::v1::{ApplyConfigRequest, ApplyConfigResponse, ApplyMode};
use serde_json::{Value, json};

use crate::args::{ApplyArgs, Common, Mode};
use crate::client::Limits;
use crate::documents::{self, Document};
use crate::enrol;
use crate::failure::Failure;
use crate::fleet::{self, Outcome};
use crate::output::{self, table, yes};
use crate::session::{self, Session};
use crate::target::{self, Target};
use crate::time;
use crate::wait::{self, Goal, Reached};

/// How long a try lasts without `--timeout`, as the machine's own default is.
const TRY: Duration = Duration::from_secs(300);
/// How long `--wait` waits without `--timeout`.
const WAIT: Duration = Duration::from_secs(900);

struct Applied {
    enrolled: bool,
    answer: ApplyConfigResponse,
    needs_bootstrap: bool,
}

/// Applies configs.
pub(super) async fn run(common: &Common, args: ApplyArgs) -> Result<(), Failure> {
    let documents = documents::read(&args.files, args.secrets.as_deref())?;
    if let Some(code) = &args.code {
        let outcomes = vec![with_code(common, &args, documents, code).await?];
        show(&args, &outcomes, &[])?;
        return fleet::conclude(outcomes);
    }
    let session = &Session::open(common)?;
    let pairs = &pair(&common.node, session, documents, args.rename)?;
    let targets: Vec<_> = pairs.iter().map(|(target, _)| target.clone()).collect();
    let work = |target: Target| {
        let mut documents = pairs.iter().filter(move |(other, _)| *other == target);
        let args = &args;
        async move {
            let document = documents.next();
            let (target, document) = document.ok_or_else(|| Failure::failed("no document"))?;
            one(session, target, document, args).await
        }
    };
    // What a config restarts is not to be away on all of them at the same time.
    if args.wait && !args.at_once && targets.len() > 1 {
        let turns = fleet::in_turn(targets, work).await;
        show(&args, &turns.outcomes, &turns.left)?;
        return turns.conclude(Some(
            "when it is well, the same command again: machines that have their config already keep it"
                .to_owned(),
        ));
    }
    let outcomes = fleet::ask(targets, work).await;
    show(&args, &outcomes, &[])?;
    fleet::conclude(outcomes)
}

/// Which document goes to which machine. A hostname that is not the machine's name is
/// most often the wrong file.
fn pair(
    asked: &[String],
    session: &Session,
    mut documents: Vec<Document>,
    rename: bool,
) -> Result<Vec<(Target, Document)>, Failure> {
    let known = &session.context.nodes;
    let targets = match asked {
        // Without -n the documents say which machines are meant.
        [] => {
            let names: Vec<String> = documents.iter().map(Document::hostname).collect();
            if let Some(name) = names
                .iter()
                .find(|name| !known.iter().any(|n| n.name == **name))
            {
                return Err(Failure::usage(format!(
                    "context {} knows no node {name}",
                    session.context.name
                ))
                .next(format!("say where it is: -n {name}=ADDRESS")));
            }
            target::choose(&names, known)?
        }
        asked => target::choose(asked, known)?,
    };
    if targets.len() != documents.len() {
        return Err(Failure::usage(format!(
            "{} documents for {} machines",
            documents.len(),
            targets.len()
        ))
        .next("each machine needs its own document: hostnames differ"));
    }
    if let ([target], [document]) = (targets.as_slice(), documents.as_slice()) {
        check_name(target, document, rename)?;
        return Ok(targets.into_iter().zip(documents).collect());
    }
    let mut pairs = Vec::new();
    for target in targets {
        let index = documents
            .iter()
            .position(|doc| doc.hostname() == target.label());
        let index = index.ok_or_else(|| {
            Failure::usage(format!(
                "none of the documents has the hostname {}",
                target.label()
            ))
        })?;
        pairs.push((target, documents.swap_remove(index)));
    }
    Ok(pairs)
}

fn check_name(target: &Target, document: &Document, rename: bool) -> Result<(), Failure> {
    let Some(name) = &target.name else {
        return Ok(());
    };
    let hostname = document.hostname();
    if rename || *name == hostname {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{} is for {hostname}, not for {name}",
        document.path.display()
    ))
    .next("take the right file; to rename the machine say --rename"))
}

async fn one(
    session: &Session,
    target: &Target,
    document: &Document,
    args: &ApplyArgs,
) -> Result<Applied, Failure> {
    let link = session.connect(target).await?;
    let stream = document.stream.expose().as_bytes();
    let enrolled = link.awaits_enrolment();
    let answer = if enrolled {
        let generation = enrol::by_credential(&link, stream, args.dry_run).await?;
        ApplyConfigResponse {
            generation,
            changed: !args.dry_run,
            ..Default::default()
        }
    } else {
        let mut machine = link.machine();
        let call = machine.apply_config(request(args, stream));
        link.call("apply-config", call).await?
    };
    // The machine closes this connection itself when it leaves maintenance.
    drop(link);
    finish(session, target, args, answer, enrolled).await
}

fn request(args: &ApplyArgs, document: &[u8]) -> machined_proto::v1::ApplyConfigRequest {
    let mode = match args.mode {
        Mode::Auto => ApplyMode::Auto,
        Mode::Staged => ApplyMode::Staged,
        Mode::Try => ApplyMode::Try,
    };
    let seconds = match args.mode {
        Mode::Try => u32::try_from(args.timeout.unwrap_or(TRY).as_secs()).unwrap_or(u32::MAX),
        _ => 0,
    };
    ApplyConfigRequest {
        document: document.to_vec(),
        mode: mode.into(),
        try_timeout_seconds: seconds,
        dry_run: args.dry_run,
        expected_generation: args.expected_generation,
        sent_ms: Timestamp::now().as_millisecond(),
    }
}

async fn finish(
    session: &Session,
    target: &Target,
    args: &ApplyArgs,
    answer: ApplyConfigResponse,
    enrolled: bool,
) -> Result<Applied, Failure> {
    let mut applied = Applied {
        enrolled,
        answer,
        needs_bootstrap: false,
    };
    if args.wait && args.mode != Mode::Staged {
        let goal = Goal::Applied(applied.answer.generation);
        let timeout = args.timeout.unwrap_or(WAIT);
        applied.needs_bootstrap =
            wait::until(session, target, goal, timeout).await? == Reached::NeedsBootstrap;
    }
    Ok(applied)
}

async fn with_code(
    common: &Common,
    args: &ApplyArgs,
    documents: Vec<Document>,
    code: &str,
) -> Result<Outcome<Applied>, Failure> {
    // No identity is needed to enrol by code, so no context either.
    let session = Session::open(common);
    let known = session
        .as_ref()
        .map_or(&[][..], |session| session.context.nodes.as_slice());
    let target = target::choose_one(&common.node, known, "apply-config --code")?;
    let [document] = documents.as_slice() else {
        return Err(Failure::usage(
            "one code is for one machine, so for one document",
        ));
    };
    check_name(&target, document, args.rename)?;
    let code = enrol_code(code)?;
    let limits: Limits = session::limits(common);
    let stream = document.stream.expose().as_bytes();
    let generation = enrol::by_code(&target, &code, stream, args.dry_run, limits).await?;
    let answer = ApplyConfigResponse {
        generation,
        changed: !args.dry_run,
        ..Default::default()
    };
    let result = match session {
        Ok(session) => finish(&session, &target, args, answer, true).await,
        Err(failure) if args.wait => Err(failure),
        Err(_) => Ok(Applied {
            enrolled: true,
            answer,
            needs_bootstrap: false,
        }),
    };
    Ok(Outcome { target, result })
}

fn enrol_code(text: &str) -> Result<EnrolmentCode, Failure> {
    if text != "-" {
        return enrol::code(text);
    }
    let told = |error| Failure::usage(format!("read the code: {error}"));
    let mut out = std::io::stderr();
    write!(out, "code on the machine's console: ").map_err(told)?;
    out.flush().map_err(told)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(told)?;
    enrol::code(line.trim())
}

fn show(args: &ApplyArgs, outcomes: &[Outcome<Applied>], left: &[Target]) -> Result<(), Failure> {
    let mut value = fleet::as_value(outcomes, shape);
    let entries = left
        .iter()
        .map(|t| json!({ "node": t.label(), "notBegun": true }));
    if let Some(all) = value.as_array_mut() {
        all.extend(entries);
    }
    output::show(args.output.format, &value, || {
        let header = ["NODE", "GENERATION", "CHANGED", "RESULT"];
        let rows = fleet::good(outcomes).map(|(node, applied)| {
            vec![
                node.to_owned(),
                applied.answer.generation.to_string(),
                yes(applied.answer.changed),
                result(args, applied),
            ]
        });
        let unknown = |node: &Target, result: &str| {
            let dash = || "-".to_owned();
            vec![node.label().to_owned(), dash(), dash(), result.to_owned()]
        };
        // Where they go one after the other, all of them are told of in one place.
        let failed = outcomes
            .iter()
            .filter(|o| !left.is_empty() && o.result.is_err());
        let failed = failed.map(|o| unknown(&o.target, "failed"));
        let left = left.iter().map(|target| unknown(target, "not begun"));
        let mut text = table(&header, rows.chain(failed).chain(left));
        for (node, applied) in fleet::good(outcomes) {
            if !applied.answer.diff.is_empty() {
                text.push_str(&format!("\n{node}:\n{}", applied.answer.diff));
            }
        }
        text
    })
}

fn result(args: &ApplyArgs, applied: &Applied) -> String {
    let answer = &applied.answer;
    if args.dry_run {
        return "valid; nothing was changed (dry run)".into();
    }
    if answer.revert_at_ms != 0 {
        return format!(
            "tried until {}; then it goes back: machinectl confirm",
            time::shown(answer.revert_at_ms)
        );
    }
    if applied.needs_bootstrap {
        return "in effect; the cluster waits for: machinectl bootstrap".into();
    }
    match (applied.enrolled, args.mode, args.wait) {
        (_, Mode::Staged, _) => "accepted; takes effect at the next boot".into(),
        (_, _, true) => "in effect".into(),
        (true, _, _) => "enrolled".into(),
        _ => "accepted".into(),
    }
}

fn shape(applied: &Applied) -> Value {
    json!({
        "generation": applied.answer.generation,
        "changed": applied.answer.changed,
        "enrolled": applied.enrolled,
        "diff": applied.answer.diff,
        "revertAt": time::shown(applied.answer.revert_at_ms),
        "needsBootstrap": applied.needs_bootstrap,
    })
}
