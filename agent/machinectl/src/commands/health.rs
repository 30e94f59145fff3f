//! `health`: everything that is wrong, not only the first thing.

use machined_proto::v1::{
    ListServicesRequest, Service, StatusRequest, StatusResponse, VersionRequest, VersionResponse,
};
use serde_json::json;

use crate::args::{Common, Format, Output};
use crate::failure::{Failure, Kind};
use crate::files;
use crate::fleet::{self, Outcome};
use crate::output::{self, table};
use crate::session::Session;
use crate::target::Target;
use crate::time;
use crate::wait;

/// A client certificate with less than this left is worth a word.
const EXPIRES_SOON_SECONDS: i64 = 30 * 24 * 3600;

/// What was heard from one machine.
struct Heard {
    status: StatusResponse,
    version: VersionResponse,
    services: Vec<Service>,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq)]
struct Finding {
    node: String,
    check: String,
    cause: String,
    next: String,
}

impl Finding {
    fn new(node: &str, check: impl Into<String>, cause: impl Into<String>) -> Self {
        let (check, cause) = (check.into(), cause.into());
        Self {
            node: node.to_owned(),
            check,
            cause,
            next: String::new(),
        }
    }

    fn next(mut self, step: impl Into<String>) -> Self {
        self.next = step.into();
        self
    }
}

/// Checks every machine meant.
pub(super) async fn run(common: &Common, output: Output) -> Result<(), Failure> {
    let session = &Session::open(common)?;
    let targets = session.targets()?;
    let outcomes = fleet::ask(targets, |target| hear(session, target)).await;
    let mut findings = own_certificate(session);
    findings.extend(outcomes.iter().flat_map(of_machine));
    findings.extend(of_cluster(&outcomes));
    report(&findings, outcomes.len(), output).map_err(|failure| match nobody(&outcomes) {
        Some(kind) => Failure { kind, ..failure },
        None => failure,
    })
}

/// Why nothing could be checked, where no machine at all was heard.
fn nobody(outcomes: &[Outcome<Heard>]) -> Option<Kind> {
    let kinds = outcomes
        .iter()
        .map(|o| o.result.as_ref().err().map(|f| f.kind));
    let kinds: Option<Vec<Kind>> = kinds.collect();
    kinds?.into_iter().max()
}

async fn hear(session: &Session, target: Target) -> Result<Heard, Failure> {
    let link = session.connect(&target).await?;
    if link.awaits_enrolment() {
        return Err(
            Failure::failed("it is in maintenance: it has no config yet").next(format!(
                "machinectl apply-config -n {} -f FILE",
                target.label()
            )),
        );
    }
    let status = link
        .call("status", link.machine().status(StatusRequest {}))
        .await?;
    let version = link
        .call("version", link.machine().version(VersionRequest {}))
        .await?;
    let mut machine = link.machine();
    let call = machine.list_services(ListServicesRequest {});
    let services = link.call("services", call).await?.services;
    Ok(Heard {
        status,
        version,
        services,
    })
}

fn own_certificate(session: &Session) -> Vec<Finding> {
    let Ok(facts) = machine_pki::inspect(&session.context.certificate) else {
        return Vec::new();
    };
    let left = facts.not_after - jiff::Timestamp::now().as_second();
    if left > EXPIRES_SOON_SECONDS {
        return Vec::new();
    }
    let when = time::shown(facts.not_after.saturating_mul(1000));
    let finding = Finding::new(
        "(you)",
        "client certificate",
        format!("it expires on {when}"),
    );
    vec![finding.next("machinectl context add NAME --secrets FILE --force")]
}

fn of_machine(outcome: &Outcome<Heard>) -> Vec<Finding> {
    let node = outcome.target.label();
    let heard = match &outcome.result {
        Ok(heard) => heard,
        Err(failure) => {
            let finding = Finding::new(node, "connection", failure.message.clone());
            return vec![finding.next(failure.next.clone().unwrap_or_default())];
        }
    };
    let mut findings = of_conditions(node, &heard.status);
    findings.extend(of_stages(node, &heard.status));
    findings.extend(of_services(node, &heard.services));
    if wait::is_node(&heard.status) && !heard.status.node_ready {
        let finding = Finding::new(node, "node", "Kubernetes does not say that it is Ready");
        findings.push(finding.next(format!("machinectl logs kubelet --tail 50 -n {node}")));
    }
    if heard.status.revert_at_ms != 0 {
        let at = time::shown(heard.status.revert_at_ms);
        let finding = Finding::new(node, "try", format!("its config goes back at {at}"));
        findings.push(finding.next(format!("machinectl confirm -n {node}, to keep it")));
    }
    findings
}

fn of_conditions(node: &str, status: &StatusResponse) -> Vec<Finding> {
    let conditions = status.conditions.iter().map(|condition| {
        let check = format!("{} {}", condition.name, condition.object)
            .trim_end()
            .to_owned();
        Finding::new(node, check, condition.message.clone()).next(condition.next_step.clone())
    });
    conditions.collect()
}

fn of_stages(node: &str, status: &StatusResponse) -> Vec<Finding> {
    // Held stages wait for one that is listed itself.
    let open = status
        .stages
        .iter()
        .filter(|stage| !matches!(stage.verdict.as_str(), "settled" | "held"));
    let findings = open.map(|stage| {
        let cause = format!("{}: {}", stage.verdict, stage.message);
        let next = match stage.verdict.as_str() {
            "acting" => format!("wait: machinectl status --wait -n {node}"),
            _ if stage.message.contains("bootstrap") => format!("machinectl bootstrap -n {node}"),
            _ => format!("machinectl events -n {node}"),
        };
        Finding::new(node, format!("stage {}", stage.name), cause).next(next)
    });
    findings.collect()
}

fn of_services(node: &str, services: &[Service]) -> Vec<Finding> {
    let failed = services
        .iter()
        .filter(|service| service.active_state == "failed");
    let findings = failed.map(|service| {
        let cause = format!("{} ({})", service.active_state, service.result);
        Finding::new(node, format!("service {}", service.name), cause).next(format!(
            "machinectl logs {} --tail 50 -n {node}",
            service.name
        ))
    });
    findings.collect()
}

fn of_cluster(outcomes: &[Outcome<Heard>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let heard: Vec<_> = fleet::good(outcomes).collect();
    let mut differ = |what: &str, of: &dyn Fn(&VersionResponse) -> String| {
        let mut seen: Vec<String> = heard.iter().map(|(_, heard)| of(&heard.version)).collect();
        seen.sort();
        seen.dedup();
        if seen.len() > 1 {
            findings.push(
                Finding::new("(cluster)", format!("{what} versions"), seen.join(", "))
                    .next("bring all nodes to the same version"),
            );
        }
    };
    differ("machined", &|version| version.version.clone());
    differ("Kubernetes", &|version| version.kubernetes_version.clone());
    findings
}

fn report(findings: &[Finding], asked: usize, output: Output) -> Result<(), Failure> {
    let entries = findings.iter().map(|finding| {
        json!({
            "node": finding.node,
            "check": finding.check,
            "cause": finding.cause,
            "next": finding.next,
        })
    });
    let value = json!({
        "healthy": findings.is_empty(),
        "nodes": asked,
        "findings": entries.collect::<Vec<_>>(),
    });
    match (output.format, findings.is_empty()) {
        (Format::Table, true) => files::print(&format!("{asked} nodes: all well\n"))?,
        (Format::Table, false) => {
            let rows = findings.iter().map(|f| {
                vec![
                    f.node.clone(),
                    f.check.clone(),
                    f.cause.clone(),
                    f.next.clone(),
                ]
            });
            files::print(&table(&["NODE", "CHECK", "CAUSE", "NEXT"], rows))?;
        }
        (format, _) => files::print(&output::encode(&value, format)?)?,
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err(Failure::failed("1 check failed")),
        count => Err(Failure::failed(format!("{count} checks failed"))),
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
