//! `token …`. A token is a secret: it goes to standard output, and into nothing that is said.

use std::io::Write;

use machine_config::Role;
use machine_pki::Secret;
use machine_plan::render::{BootstrapToken, is_token_id, join_command};
use machined_proto::v1::{
    CreateTokenRequest, DeleteTokenRequest, ListTokensRequest, Token, VersionRequest,
};
use serde_json::json;

use crate::args::{Common, CreateTokenArgs, Output, TokenCommand};
use crate::client::Link;
use crate::failure::Failure;
use crate::files;
use crate::output::{self, table};
use crate::session::Session;
use crate::time;

/// Only for checking the rest of a request for which the machine makes the token.
const ANY: &str = "aaaaaa.aaaaaaaaaaaaaaaa";

/// Makes, lists and deletes bootstrap tokens.
pub(super) async fn run(common: &Common, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => create(common, args).await,
        TokenCommand::List { output } => list(common, output).await,
        TokenCommand::Delete { ids } => delete(common, &ids).await,
    }
}

async fn create(common: &Common, args: CreateTokenArgs) -> Result<(), Failure> {
    let verb = "token create";
    let request = request(&args)?;
    let (link, version) = control_plane(&Session::open(common)?, verb).await?;
    let never = request.never_expires;
    let mut machine = link.machine();
    let made = link.call(verb, machine.create_token(request)).await?;
    if never {
        let (id, _) = made.token.split_once('.').unwrap_or_default();
        crate::tell!(
            "warning: token {id} never expires; when it is no longer needed: \
             machinectl token delete {id}"
        );
    }
    let token = Secret::new(made.token);
    let command = join_command(&made.endpoint, &token, &made.ca_hashes);
    if args.print_join_command && !version.is_empty() {
        crate::tell!("for machines with kubeadm and kubelet {version}");
    }
    let value = json!({
        "token": token.expose(),
        "expires": (made.expires_ms != 0).then(|| time::shown(made.expires_ms)),
        "usages": made.usages,
        "groups": made.groups,
        "endpoint": made.endpoint,
        "caHashes": made.ca_hashes,
        "joinCommand": args.print_join_command.then(|| command.expose()),
    });
    let alone = match args.print_join_command {
        true => &command,
        false => &token,
    };
    output::show(args.output.format, &value, || {
        format!("{}\n", alone.expose())
    })
}

/// What is asked, after the same checks that the machine makes.
fn request(args: &CreateTokenArgs) -> Result<CreateTokenRequest, Failure> {
    let token = match args.token.as_deref() {
        Some("-") => Some(asked()?),
        token => token.map(|token| Secret::new(token.to_owned())),
    };
    let usages: Vec<_> = args
        .usages
        .iter()
        .map(|usage| usage.word().to_owned())
        .collect();
    let checked = BootstrapToken::new(
        token.clone().unwrap_or_else(|| Secret::new(ANY.to_owned())),
        None,
        args.description.clone(),
        &usages,
        args.groups.clone(),
    );
    let checked = checked.map_err(|fault| Failure::usage(fault.to_string()))?;
    if args.print_join_command && checked.usages().len() < 2 {
        return Err(
            Failure::usage("a node joins only by a token with both usages")
                .next("leave out --usages, or --print-join-command"),
        );
    }
    let lifetime_seconds =
        u32::try_from(args.ttl.as_secs()).map_err(|_| Failure::usage("--ttl: that is too long"))?;
    if lifetime_seconds == 0 && !args.ttl.is_zero() {
        return Err(Failure::usage("--ttl: less than a second"));
    }
    Ok(CreateTokenRequest {
        token: token
            .map(|token| token.expose().to_owned())
            .unwrap_or_default(),
        lifetime_seconds,
        never_expires: lifetime_seconds == 0,
        description: args.description.clone(),
        usages,
        groups: args.groups.clone(),
    })
}

fn asked() -> Result<Secret, Failure> {
    let told = |error| Failure::usage(format!("read the token: {error}"));
    let mut out = std::io::stderr();
    write!(out, "token: ")
        .and_then(|()| out.flush())
        .map_err(told)?;
    let mut line = zeroize::Zeroizing::new(String::new());
    std::io::stdin().read_line(&mut line).map_err(told)?;
    Ok(Secret::new(line.trim().to_owned()))
}

async fn list(common: &Common, output: Output) -> Result<(), Failure> {
    let verb = "token list";
    let (link, _) = control_plane(&Session::open(common)?, verb).await?;
    let mut machine = link.machine();
    let call = machine.list_tokens(ListTokensRequest {});
    let tokens = link.call(verb, call).await?.tokens;
    let value = json!({ "tokens": tokens.iter().map(shape).collect::<Vec<_>>() });
    output::show(output.format, &value, || {
        let header = [
            "ID",
            "EXPIRES",
            "USAGES",
            "GROUPS",
            "DESCRIPTION",
            "PROBLEM",
        ];
        let rows = tokens.iter().map(|token| {
            vec![
                token.id.clone(),
                match token.expires_ms {
                    0 => "never".to_owned(),
                    moment => time::shown(moment),
                },
                token.usages.join(","),
                token.groups.join(","),
                token.description.clone(),
                token.problem.clone(),
            ]
        });
        table(&header, rows)
    })
}

fn shape(token: &Token) -> serde_json::Value {
    json!({
        "id": token.id,
        "expires": (token.expires_ms != 0).then(|| time::shown(token.expires_ms)),
        "usages": token.usages,
        "groups": token.groups,
        "description": token.description,
        "problem": token.problem,
    })
}

async fn delete(common: &Common, wanted: &[String]) -> Result<(), Failure> {
    let verb = "token delete";
    // A whole token is taken as well; its secret goes nowhere.
    let id = |text: &String| {
        let id = text.split_once('.').map_or(text.as_str(), |(id, _)| id);
        is_token_id(id).then(|| id.to_owned()).ok_or_else(|| {
            Failure::usage("a token's id is its first six characters, of a-z and 0-9")
                .next("machinectl token list")
        })
    };
    let ids = wanted.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    let (link, _) = control_plane(&Session::open(common)?, verb).await?;
    for id in ids {
        let mut machine = link.machine();
        let call = machine.delete_token(DeleteTokenRequest { id: id.clone() });
        link.call(verb, call).await?;
        files::print(&format!("token {id} is deleted\n"))?;
    }
    Ok(())
}

/// The first control plane machine that answers, and the Kubernetes version that it has. Nobody
/// else is asked after it: a token that was made, but whose answer was lost, would be made twice.
async fn control_plane(session: &Session, verb: &str) -> Result<(Link, String), Failure> {
    let mut first = None;
    for target in session.targets()? {
        let answer = async {
            let link = session.connect(&target).await?;
            let mut machine = link.machine();
            let version = link.call(verb, machine.version(VersionRequest {})).await?;
            Ok((link, version))
        };
        match answer.await {
            Ok((link, version)) if version.role == Role::ControlPlane.as_str() => {
                return Ok((link, version.kubernetes_version));
            }
            Ok(_) => {}
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.unwrap_or_else(|| {
        Failure::usage(format!("{verb}: none of the machines is a control plane"))
            .next("name one: -n NODE")
    }))
}
