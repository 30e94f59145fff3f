//! A request through a node's load balancer, against the same request to the API server itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::ensure;
use qemu_tests::netns::Cluster;

use crate::client::{Client, Line};
use crate::inside;
use crate::settings::Settings;
use crate::table::Table;

/// Rounds, and requests of each kind and way in one: enough for a p99 that is not its two or three worst.
const ROUNDS: usize = 10;
const KEPT: usize = 3000;
const NEW: usize = 1000;

/// What is asked: no more than the API server's own work.
const WHAT: &str = "/version";

/// Where the load balancer listens on a node.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7445);

/// One round's p99 of each way, in milliseconds.
struct Round {
    kept: [f64; 2],
    new: [f64; 2],
}

/// Both ways request by request in turn, from the node itself.
pub fn compare(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let mut cluster = Cluster::sharing("bench-balancer", &settings.double, &["cp1"])?;
    cluster.power_on(&["cp1"])?;
    cluster.enrol(&["cp1"])?;
    cluster.bootstrap("cp1", 180)?;
    cluster.until_together(&["cp1"], 180)?;
    let at = cluster.at("cp1")?;
    let settled = ["status", "-n", &at, "--wait", "--timeout", "10h"];
    cluster.machinectl(&settled, 180)?;
    let client = Client::of_kubeconfig(&cluster.home().join("kubeconfig"))?;
    let node = cluster.node("cp1")?;
    let direct = SocketAddr::new(node.address.parse()?, 6443);
    let ways = [LOCAL, direct];
    let rounds = inside::run(|| node.enter(), || all(client, ways))?;
    let column = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<_>>();
    for (figure, ours, peer) in [
        (
            "load balancer, kept connection: p99 | direct",
            column(|round| round.kept[0]),
            column(|round| round.kept[1]),
        ),
        (
            "load balancer, new connection: p99 | direct",
            column(|round| round.new[0]),
            column(|round| round.new[1]),
        ),
    ] {
        table.more(figure, "ms", &ours, &peer, 0.2);
    }
    cluster.done();
    Ok(())
}

async fn all(client: Client, ways: [SocketAddr; 2]) -> anyhow::Result<Vec<Round>> {
    let mut rounds = Vec::new();
    // The first one warms everything up.
    for round in 0..=ROUNDS {
        let found = Round {
            kept: kept(&client, ways).await?,
            new: new(&client, ways).await?,
        };
        eprintln!(
            "bench: round {round}: p99 in ms, through and direct: kept {:.3?}, new {:.3?}",
            found.kept, found.new
        );
        if round > 0 {
            rounds.push(found);
        }
    }
    Ok(rounds)
}

async fn kept(client: &Client, ways: [SocketAddr; 2]) -> anyhow::Result<[f64; 2]> {
    let mut lines = [
        client.connect(ways[0]).await?,
        client.connect(ways[1]).await?,
    ];
    let mut took = [const { Vec::new() }; 2];
    for turn in 0..KEPT {
        for way in order(turn) {
            let begun = Instant::now();
            get(&mut lines[way]).await?;
            took[way].push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(took.map(p99))
}

async fn new(client: &Client, ways: [SocketAddr; 2]) -> anyhow::Result<[f64; 2]> {
    let mut took = [const { Vec::new() }; 2];
    for turn in 0..NEW {
        for way in order(turn) {
            let begun = Instant::now();
            get(&mut client.connect(ways[way]).await?).await?;
            took[way].push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(took.map(p99))
}

// Whoever is second finds caches warm: both are.
fn order(turn: usize) -> [usize; 2] {
    if turn.is_multiple_of(2) {
        [0, 1]
    } else {
        [1, 0]
    }
}

async fn get(line: &mut Line) -> anyhow::Result<()> {
    let (code, _) = line.get(WHAT).await?;
    ensure!(code == 200, "answered {code}");
    Ok(())
}

fn p99(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    let place = of.len() * 99 / 100;
    of.get(place).copied().unwrap_or(f64::NAN)
}
