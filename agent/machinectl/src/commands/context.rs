//! `context …`.

use std::path::Path;

use machine_pki::{CertificateFacts, Secret};
use serde_json::{Value, json};

use crate::args::{AddContextArgs, Common, ContextCommand};
use crate::context::Context;
use crate::documents;
use crate::failure::Failure;
use crate::files;
use crate::identity::{self, Client};
use crate::output::{self, table};
use crate::session;
use crate::target::{Node, Target};
use crate::time;

/// Runs `context …`.
pub(super) fn run(common: &Common, command: ContextCommand) -> Result<(), Failure> {
    let mut contexts = match command {
        ContextCommand::List { .. } | ContextCommand::Show { .. } => session::contexts()?,
        _ => session::contexts_to_change()?,
    };
    match command {
        ContextCommand::List { output } => {
            let current = contexts.current();
            let value = contexts
                .all()
                .iter()
                .map(|context| shape(context, current == Some(&context.name)))
                .collect();
            output::show(output.format, &value, || {
                let rows = contexts.all().iter().map(|context| row(context, current));
                table(
                    &["CURRENT", "NAME", "NODES", "USER", "ROLE", "EXPIRES"],
                    rows,
                )
            })
        }
        ContextCommand::Use { name } => {
            contexts.make_current(&name)?;
            contexts.save()?;
            crate::tell!("context {name} is the current one");
            Ok(())
        }
        ContextCommand::Show { name, output } => {
            let context = contexts.choose(name.as_deref().or(session::asked(common)))?;
            let value = shape(context, contexts.current() == Some(&context.name));
            files::print(&output::encode(&value, output.format)?)
        }
        ContextCommand::Add(args) => {
            let context = made(common, &args)?;
            contexts.add(context, args.force)?;
            let current = !args.keep_current || contexts.current().is_none();
            if current {
                contexts.make_current(&args.name)?;
            }
            contexts.save()?;
            let nodes = contexts.find(&args.name).map_or(0, |c| c.nodes.len());
            let current = if current {
                ", and is the current one"
            } else {
                ""
            };
            crate::tell!("context {} knows {nodes} nodes{current}", args.name);
            if nodes == 0 {
                crate::tell!(
                    "to name them: machinectl context add {} … -n NAME=ADDRESS",
                    args.name
                );
            }
            Ok(())
        }
        ContextCommand::Remove { name } => {
            contexts.remove(&name)?;
            contexts.save()?;
            crate::tell!("context {name} is removed");
            Ok(())
        }
    }
}

fn made(common: &Common, args: &AddContextArgs) -> Result<Context, Failure> {
    let nodes = nodes(&common.node)?;
    if let Some(path) = &args.secrets {
        let client = Client {
            user: match args.user.as_str() {
                "" => Client::admin().user,
                user => user.to_owned(),
            },
            role: args.role,
            lifetime: args.lifetime,
        };
        return identity::new_context(&args.name, nodes, &documents::read_secrets(path)?, &client);
    }
    let (Some(ca), Some(certificate), Some(key)) = (&args.ca, &args.certificate, &args.key) else {
        return Err(Failure::usage(
            "a context needs --secrets, or --ca, --certificate and --key together",
        ));
    };
    let context = Context {
        name: args.name.clone(),
        nodes,
        ca: files::read_text(ca)?,
        certificate: files::read_text(certificate)?,
        key: Secret::new(files::read_text(key)?),
    };
    checked(context, ca, certificate, key)
}

/// Refuses files that do not belong together: later they would fail in darker words.
fn checked(
    context: Context,
    ca: &Path,
    certificate: &Path,
    key: &Path,
) -> Result<Context, Failure> {
    let facts = |path: &Path, pem: &str| {
        machine_pki::inspect(pem)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    if !facts(ca, &context.ca)?.is_ca {
        return Err(Failure::usage(format!(
            "{} is no CA certificate",
            ca.display()
        )));
    }
    facts(certificate, &context.certificate)?;
    if !machine_pki::issued_by(&context.certificate, &context.ca) {
        return Err(Failure::usage(format!(
            "{} was not issued by {}",
            certificate.display(),
            ca.display()
        )));
    }
    if !machine_pki::key_matches(&context.certificate, &context.key) {
        return Err(Failure::usage(format!(
            "{} is not the key of {}",
            key.display(),
            certificate.display()
        )));
    }
    Ok(context)
}

fn nodes(asked: &[String]) -> Result<Vec<Node>, Failure> {
    let targets: Result<Vec<Target>, String> = asked.iter().map(|text| text.parse()).collect();
    Ok(targets
        .map_err(Failure::usage)?
        .iter()
        .map(Target::as_node)
        .collect())
}

fn facts(context: &Context) -> Option<CertificateFacts> {
    machine_pki::inspect(&context.certificate).ok()
}

fn row(context: &Context, current: Option<&str>) -> Vec<String> {
    let facts = facts(context);
    let facts = facts.as_ref();
    let mark = if current == Some(&context.name) {
        "*"
    } else {
        ""
    };
    let nodes: Vec<&str> = context
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    vec![
        mark.into(),
        context.name.clone(),
        nodes.join(","),
        facts
            .map(|facts| facts.common_name.clone())
            .unwrap_or_default(),
        facts.map(role).unwrap_or_default(),
        facts
            .map(|facts| time::shown(facts.not_after.saturating_mul(1000)))
            .unwrap_or_default(),
    ]
}

fn role(facts: &CertificateFacts) -> String {
    let organizations: Vec<&str> = facts.organizations.iter().map(String::as_str).collect();
    organizations.join(",").replace("machined:", "")
}

fn shape(context: &Context, current: bool) -> Value {
    let facts = facts(context);
    let facts = facts.as_ref();
    let nodes = context.nodes.iter();
    let nodes = nodes.map(|node| json!({ "name": node.name, "address": node.address }));
    json!({
        "name": context.name,
        "current": current,
        "nodes": nodes.collect::<Vec<_>>(),
        "user": facts.map(|facts| facts.common_name.clone()),
        "role": facts.map(role),
        "expires": facts.map(|facts| time::shown(facts.not_after.saturating_mul(1000))),
    })
}
