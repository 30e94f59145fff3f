//! Waiting for a machine, visibly: one line on standard error for everything that changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use machine_config::Role;
use machined_proto::v1::{StatusRequest, StatusResponse, VersionRequest};

use crate::client::Link;
use crate::failure::{Failure, Kind};
use crate::session::Session;
use crate::target::Target;
use crate::time;

/// How often a machine is asked. One small call; nothing on the machine runs because of it.
const EVERY: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// This generation or a later one is in force and in effect, as far as it can be before the
    /// cluster is bootstrapped.
    Applied(u64),
    /// Everything is in effect, and the node is Ready where the machine is one.
    Ready,
}

/// Why waiting ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The goal itself.
    Goal,
    /// Only an order from a person is missing.
    NeedsBootstrap,
}

/// Prints what changes, with the time since it began.
#[derive(Debug)]
pub struct Progress {
    name: String,
    began: Instant,
    shown: BTreeMap<String, String>,
}

impl Progress {
    /// Begins now.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            began: Instant::now(),
            shown: BTreeMap::new(),
        }
    }

    /// A thing's name, and the time that counts from an earlier moment.
    pub fn since(name: &str, began: Instant) -> Self {
        Self {
            began,
            ..Self::new(name)
        }
    }

    /// Prints one line if it differs from the last one about the same thing.
    pub fn tell(&mut self, thing: &str, state: &str) {
        if self.shown.get(thing).is_some_and(|shown| shown == state) {
            return;
        }
        self.shown.insert(thing.to_owned(), state.to_owned());
        crate::tell!(
            "[{:>6}] {}: {thing}: {state}",
            time::span(self.began.elapsed()),
            self.name
        );
    }

    fn status(&mut self, status: &StatusResponse) {
        self.tell("generation", &status.generation.to_string());
        for stage in &status.stages {
            let state = match stage.message.is_empty() {
                true => stage.verdict.clone(),
                false => format!("{} ({})", stage.verdict, stage.message),
            };
            self.tell(&stage.name, &state);
        }
        if is_node(status) {
            let ready = if status.node_ready {
                "Ready"
            } else {
                "not Ready"
            };
            self.tell("kubernetes node", ready);
        }
    }
}

/// Waits until the goal is reached or the time is up.
pub async fn until(
    session: &Session,
    target: &Target,
    goal: Goal,
    timeout: Duration,
) -> Result<Reached, Failure> {
    follow(
        session,
        target,
        goal,
        timeout,
        &mut Progress::new(target.label()),
    )
    .await
}

/// The same, with the caller's progress.
pub async fn follow(
    session: &Session,
    target: &Target,
    goal: Goal,
    timeout: Duration,
    progress: &mut Progress,
) -> Result<Reached, Failure> {
    let mut last = None;
    let watching = watch(session, target, goal, progress, &mut last);
    match tokio::time::timeout(timeout, watching).await {
        Ok(ended) => ended,
        Err(_) => Err(too_long(target, timeout, last)),
    }
}

/// In which boot a machine is.
pub async fn boot(link: &Link) -> Result<String, Failure> {
    let version = link
        .call("version", link.machine().version(VersionRequest {}))
        .await?;
    Ok(version.boot_id)
}

/// Waits until a machine is in another boot than before, and well there.
pub async fn rebooted(
    session: &Session,
    target: &Target,
    before: &str,
    timeout: Duration,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let began = Instant::now();
    let anew = async {
        loop {
            let asked = async { boot(&session.connect(target).await?).await };
            match asked.await {
                Ok(now) if now != before => return Ok(()),
                Ok(_) => progress.tell("boot", "it has not gone down yet"),
                Err(failure) if failure.kind == Kind::Usage => return Err(failure),
                Err(failure) => progress.tell("connection", &failure.message),
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    match tokio::time::timeout(timeout, anew).await {
        Ok(ended) => ended?,
        Err(_) => {
            let message = format!("{target}: not booted within {}", time::span(timeout));
            return Err(Failure::unreachable(message).next("look at its console"));
        }
    }
    progress.tell("boot", "a new one");
    let left = timeout.saturating_sub(began.elapsed());
    follow(session, target, Goal::Ready, left, progress)
        .await
        .map(drop)
}

async fn watch(
    session: &Session,
    target: &Target,
    goal: Goal,
    progress: &mut Progress,
    last: &mut Option<StatusResponse>,
) -> Result<Reached, Failure> {
    let mut link = None;
    loop {
        match ask(session, target, &mut link).await {
            Ok(status) => {
                progress.tell("connection", "up");
                progress.status(&status);
                if let Some(reached) = reached(goal, &status) {
                    return Ok(reached);
                }
                *last = Some(status);
            }
            // A machine that restarts its API, or has yet to begin with it, is waited for.
            // After enrolment its certificate is replaced, so distrust may pass too.
            Err(failure) => {
                if failure.kind == Kind::Usage {
                    return Err(failure);
                }
                link = None;
                progress.tell("connection", &failure.message);
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn ask(
    session: &Session,
    target: &Target,
    link: &mut Option<Link>,
) -> Result<StatusResponse, Failure> {
    let open = match link {
        Some(open) => open,
        None => link.insert(session.connect(target).await?),
    };
    open.call("status", open.machine().status(StatusRequest {}))
        .await
}

fn reached(goal: Goal, status: &StatusResponse) -> Option<Reached> {
    match goal {
        Goal::Ready => {
            let ready = status.node_ready || !is_node(status);
            (status.settled && ready).then_some(Reached::Goal)
        }
        Goal::Applied(generation) if status.generation < generation => None,
        Goal::Applied(_) if status.settled => Some(Reached::Goal),
        Goal::Applied(_) => needs_bootstrap(status).then_some(Reached::NeedsBootstrap),
    }
}

/// Whether the machine is to be a node of Kubernetes.
pub fn is_node(status: &StatusResponse) -> bool {
    status.role != Role::Etcd.as_str()
}

/// Only stages that wait for `bootstrap`, and those behind them, are not settled.
fn needs_bootstrap(status: &StatusResponse) -> bool {
    let waits =
        |verdict: &str, message: &str| verdict == "blocked" && message.contains("bootstrap");
    status
        .stages
        .iter()
        .any(|stage| waits(&stage.verdict, &stage.message))
        && status.stages.iter().all(|stage| {
            matches!(stage.verdict.as_str(), "settled" | "held")
                || waits(&stage.verdict, &stage.message)
        })
}

fn too_long(target: &Target, timeout: Duration, last: Option<StatusResponse>) -> Failure {
    let mut message = format!("{target}: not there after {}", time::span(timeout));
    match last {
        None => message.push_str("; it never answered"),
        Some(status) => {
            for stage in status
                .stages
                .iter()
                .filter(|stage| stage.verdict != "settled")
            {
                message.push_str(&format!(
                    "\n  {}: {} {}",
                    stage.name, stage.verdict, stage.message
                ));
            }
            if status.settled && is_node(&status) && !status.node_ready {
                message.push_str("\n  the node is not Ready");
            }
        }
    }
    Failure::unreachable(message).next("machinectl health tells causes; the machine goes on trying")
}

#[cfg(test)]
mod tests {
    use super::*;
    use machined_proto::v1::Stage;

    fn status(stages: &[(&str, &str)]) -> StatusResponse {
        let stages = stages.iter().map(|(verdict, message)| Stage {
            name: "s".into(),
            verdict: (*verdict).into(),
            message: (*message).into(),
        });
        StatusResponse {
            generation: 2,
            stages: stages.collect(),
            ..Default::default()
        }
    }

    #[test]
    fn waiting_for_an_applied_config_ends_where_only_bootstrap_is_missing() {
        let waiting = status(&[
            ("settled", ""),
            ("blocked", "waits for bootstrap"),
            ("held", ""),
        ]);
        assert_eq!(
            reached(Goal::Applied(2), &waiting),
            Some(Reached::NeedsBootstrap)
        );
        assert_eq!(reached(Goal::Applied(3), &waiting), None);
        assert_eq!(reached(Goal::Ready, &waiting), None);
        let busy = status(&[("acting", ""), ("blocked", "waits for bootstrap")]);
        assert_eq!(reached(Goal::Applied(2), &busy), None);
        let settled = StatusResponse {
            settled: true,
            ..status(&[("settled", "")])
        };
        assert_eq!(reached(Goal::Applied(2), &settled), Some(Reached::Goal));
        assert_eq!(reached(Goal::Ready, &settled), None);
        let of_etcd = StatusResponse {
            role: "etcd".into(),
            ..settled.clone()
        };
        assert_eq!(reached(Goal::Ready, &of_etcd), Some(Reached::Goal));
        let ready = StatusResponse {
            node_ready: true,
            ..settled
        };
        assert_eq!(reached(Goal::Ready, &ready), Some(Reached::Goal));
    }
}
