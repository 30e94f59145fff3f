//! How long a learner that has caught up waits for its vote. etcd calls it caught up when nine tenths of
//! the leader's log are there, and refuses to promote it before.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use qemu_tests::Deadline;
use qemu_tests::netns::{Cluster, Net};
use serde_json::Value;

use crate::client::{Client, Line};
use crate::inside;
use crate::settings::Settings;
use crate::table::Table;

const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];
const PKI: &str = "/etc/kubernetes/pki/etcd";

/// Between two questions.
const AGAIN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(1);

/// Two machines join one after the other, in each round.
pub fn measure(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let mut waited = Vec::new();
    for round in 1..=settings.rounds {
        let mut cluster = Cluster::new("bench-learner", &settings.double, &ALL)?;
        cluster.power_on(&ALL)?;
        cluster.enrol(&ALL[..1])?;
        cluster.bootstrap("cp1", 180)?;
        cluster.until_together(&ALL[..1], 180)?;
        let client = client(&mut cluster)?;
        let leader = member(&mut cluster, "cp1")?;
        for (joined, name) in ALL.into_iter().enumerate().skip(1) {
            let learner = member(&mut cluster, name)?;
            cluster.enrol(&[name])?;
            let took = inside::run(Net::sit, || watch(&client, leader, learner))?;
            eprintln!("bench: round {round}: {name} had its vote {took:.2} s after it caught up");
            waited.push(took);
            cluster.until_together(&ALL[..=joined], 180)?;
        }
        cluster.done();
    }
    let worst = waited.iter().copied().fold(f64::NAN, f64::max);
    table.bound(
        "learner that caught up to voter: the longest",
        "s",
        worst,
        2.0,
    );
    table.note(format!("learner to voter: each: {waited:.2?}"));
    Ok(())
}

fn member(cluster: &mut Cluster, name: &str) -> anyhow::Result<SocketAddr> {
    Ok(SocketAddr::new(cluster.node(name)?.address.parse()?, 2379))
}

fn client(cluster: &mut Cluster) -> anyhow::Result<Client> {
    let node = cluster.node("cp1")?;
    let read = |name: &str| {
        let path = node.path(PKI)?.join(name);
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))
    };
    Client::new(
        "localhost",
        &read("ca.crt")?,
        &read("healthcheck-client.crt")?,
        &read("healthcheck-client.key")?,
    )
}

/// Seconds from the first answer that shows it caught up to the first that shows its vote.
async fn watch(client: &Client, leader: SocketAddr, learner: SocketAddr) -> anyhow::Result<f64> {
    let deadline = Deadline::new(180, "a learner to become a voter");
    let (mut to_leader, mut to_learner) = (None, None);
    let mut caught_up = None;
    loop {
        deadline.left()?;
        tokio::time::sleep(AGAIN).await;
        // Before its etcd runs nobody answers.
        let Some(own) = status(client, learner, &mut to_learner).await else {
            continue;
        };
        if caught_up.is_none() {
            let Some(all) = status(client, leader, &mut to_leader).await else {
                continue;
            };
            if own.index * 10 >= all.index * 9 {
                caught_up = Some(Instant::now());
            }
        }
        if !own.learner {
            let since = caught_up.context("it had a vote before it had the log")?;
            return Ok(since.elapsed().as_secs_f64());
        }
    }
}

struct Status {
    index: u64,
    learner: bool,
}

async fn status(client: &Client, at: SocketAddr, line: &mut Option<Line>) -> Option<Status> {
    let asked = tokio::time::timeout(PATIENCE, ask(client, at, line)).await;
    match asked {
        Ok(Ok(status)) => Some(status),
        _ => {
            *line = None;
            None
        }
    }
}

async fn ask(client: &Client, at: SocketAddr, line: &mut Option<Line>) -> anyhow::Result<Status> {
    let line = match line {
        Some(line) => line,
        None => line.insert(client.connect(at).await?),
    };
    let (code, body) = line.send("POST", "/v3/maintenance/status", "{}").await?;
    ensure!(code == 200, "answered {code}");
    let value: Value = serde_json::from_slice(&body)?;
    let index = value["raftIndex"]
        .as_str()
        .and_then(|text| text.parse().ok());
    Ok(Status {
        index: index.context("no index")?,
        learner: value["isLearner"] == Value::Bool(true),
    })
}
