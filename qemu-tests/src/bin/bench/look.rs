//! What one look of the agent costs with few nodes in the cluster and with many. All but one of the nodes
//! are objects that no machine is behind, as big as real ones.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use qemu_tests::netns::{Cluster, Net};
use qemu_tests::{Deadline, run_quietly};
use serde_json::{Value, json};

use crate::client::Client;
use crate::inside;
use crate::settings::Settings;
use crate::table::Table;

/// Nodes in the cluster.
const FEW: usize = 3;
const MANY: usize = 300;

const TIMES: usize = 3;

/// How often the agent is woken in one measurement, and how long each look may take.
const WAKES: usize = 100;
const BETWEEN: Duration = Duration::from_millis(250);

/// After this the controllers have said all they have to say about new nodes.
const CALM: Duration = Duration::from_secs(60);

const NODES: &str = "/api/v1/nodes";

/// Few and many in turn.
pub fn compare(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let mut cluster = Cluster::new("bench-look", &settings.double, &["cp1"])?;
    cluster.power_on(&["cp1"])?;
    cluster.enrol(&["cp1"])?;
    cluster.bootstrap("cp1", 180)?;
    cluster.until_together(&["cp1"], 180)?;
    let client = Client::of_kubeconfig(&cluster.home().join("kubeconfig"))?;
    let api = SocketAddr::new(cluster.node("cp1")?.address.parse()?, 6443);
    let mut found = [const { Vec::new() }; 2];
    for time in 1..=TIMES {
        for (column, count) in [FEW, MANY].into_iter().enumerate() {
            inside::run(Net::sit, || fill(&client, api, count))?;
            let cost = cost(&mut cluster)?;
            eprintln!("bench: time {time}: a look with {count} nodes: {cost:.2} ms of processor");
            found[column].push(cost);
        }
    }
    let [few, many] = found;
    table.compare(
        "processor time of a look with 300 nodes | with 3",
        "ms",
        &many,
        &few,
        1.2,
    );
    cluster.done();
    Ok(())
}

/// Leaves as many nodes in the cluster.
async fn fill(client: &Client, api: SocketAddr, count: usize) -> anyhow::Result<()> {
    let mut line = client.connect(api).await?;
    let ours = format!("{NODES}?labelSelector=bench%3Dlook");
    let (code, _) = line.send("DELETE", &ours, "").await?;
    ensure!(code == 200, "deleting nodes: {code}");
    for index in 1..count {
        let (code, body) = line.send("POST", NODES, &node(index).to_string()).await?;
        let why = String::from_utf8_lossy(&body);
        ensure!(code == 201, "creating a node: {code}: {why}");
    }
    Ok(())
}

fn node(index: usize) -> Value {
    let images: Vec<_> = (0..40)
        .map(|image| {
            json!({
                "names": [format!("registry.example/some/image-{image}:v{index}")],
                "sizeBytes": 10_000_000 + image,
            })
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": format!("bare{index}"), "labels": { "bench": "look" } },
        "status": {
            "addresses": [{
                "type": "InternalIP",
                "address": format!("192.0.2.{}", 20 + index % 200),
            }],
            "images": images,
        },
    })
}

/// Milliseconds of processor time that one look takes.
fn cost(cluster: &mut Cluster) -> anyhow::Result<f64> {
    std::thread::sleep(CALM);
    let at = cluster.at("cp1")?;
    let settled = ["status", "-n", &at, "--wait", "--timeout", "10h"];
    cluster.machinectl(&settled, 180)?;
    let agent = agent()?;
    let (looks, before) = (looks(cluster, &at)?, used(agent)?);
    let deadline = Deadline::new(180, "the agent to look");
    for _ in 0..WAKES {
        wake(cluster, &deadline)?;
        std::thread::sleep(BETWEEN);
    }
    let after = used(agent)?;
    let looked = self::looks(cluster, &at)? - looks;
    ensure!(looked >= 10.0, "only {looked} looks");
    Ok((after - before) / looked)
}

/// The end of any unit's job wakes the agent.
fn wake(cluster: &mut Cluster, deadline: &Deadline) -> anyhow::Result<()> {
    let on = cluster.node("cp1")?.on()?;
    let call = "busctl --quiet --address=unix:path=/run/dbus/system_bus_socket call \
                org.freedesktop.systemd1 /org/freedesktop/systemd1 \
                org.freedesktop.systemd1.Manager StartUnit ss systemd-resolved.service replace";
    let words: Vec<_> = on.iter().map(String::as_str).skip(1).collect();
    let words: Vec<_> = words.into_iter().chain(call.split_whitespace()).collect();
    let ran = run_quietly(Path::new(&on[0]), &words, &[], deadline)?;
    ensure!(ran.code == 0, "busctl: {}", ran.stderr);
    Ok(())
}

fn looks(cluster: &Cluster, at: &str) -> anyhow::Result<f64> {
    let text = cluster.machinectl(&["status", "-n", at, "-o", "json"], 60)?;
    let value: Value = serde_json::from_str(&text)?;
    let looks = found(&value).with_context(|| format!("no looks in {text}"))?;
    Ok(looks)
}

fn found(value: &Value) -> Option<f64> {
    match value {
        Value::Object(map) => match map.get("looks").and_then(Value::as_f64) {
            Some(looks) => Some(looks),
            None => map.values().find_map(found),
        },
        Value::Array(list) => list.iter().find_map(found),
        _ => None,
    }
}

/// The agent's process: there is one network of machines at a time, and one machine in it.
fn agent() -> anyhow::Result<u32> {
    let all = std::fs::read_dir("/proc")?.flatten();
    let is_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline"));
        line.is_ok_and(|line| line == b"/opt/machined\0")
    };
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(is_it).context("no agent runs")
}

/// Milliseconds of processor time so far, ended threads' too.
fn used(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = text.rsplit(')').next().context("no fields")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    // Hundredths of a second, whatever the kernel's own clock.
    Ok(ticks.iter().sum::<f64>() * 10.0)
}
