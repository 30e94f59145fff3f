//! Our figures and a peer's, measured side by side in one run, as one table.
//! docs/operations/bench.md says how to read it; `just bench` runs it.

mod agent;
mod agents;
mod balancer;
mod boots;
mod client;
mod effort;
mod endpoint;
mod guest;
mod guide;
mod host;
mod inside;
mod join;
mod kubeadm;
mod learner;
mod load;
mod look;
mod ours;
mod peer;
mod settings;
mod table;

use anyhow::Context;
use settings::Settings;
use table::Table;

/// One on machines made of namespaces.
type Part = fn(&Settings, &mut Table) -> anyhow::Result<()>;

fn main() -> anyhow::Result<()> {
    let settings = Settings::from_env(std::env::args().skip(1).collect())?;
    let mut table = Table::default();
    let outcome = measure(&settings, &mut table);
    // What was measured before a failure is shown all the same.
    println!("{table}");
    outcome
}

fn measure(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    // What needs a calm machine comes first, what is only counted comes last.
    if settings.wants("ready") {
        ready(settings, table)?;
    }
    if settings.wants("boot") {
        boots::compare(settings, table)?;
    }
    let parts: [(&str, Part); 6] = [
        ("join", join::compare),
        ("learner", learner::measure),
        ("endpoint", endpoint::compare),
        ("balancer", balancer::compare),
        ("agents", agents::measure),
        ("look", look::compare),
    ];
    for (name, part) in parts {
        if settings.wants(name) {
            part(settings, table).with_context(|| format!("part {name}"))?;
        }
    }
    if settings.wants("secrets") {
        host::secrets(settings, table)?;
    }
    if settings.wants("sizes") {
        host::binaries(settings, table)?;
        host::image(settings, table)?;
    }
    Ok(())
}

/// Both ways to a Ready node, in turn, and the agent while it has nothing to do.
fn ready(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let peer = peer::Peer::prepare(settings)?;
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for round in 1..=settings.rounds {
        eprintln!("bench: round {round} of {}: machined", settings.rounds);
        ours.push(ours::round(settings, round)?);
        eprintln!("bench: round {round} of {}: kubeadm", settings.rounds);
        peers.push(peer.round(settings, round)?);
    }
    peer.done();
    let each = |of: fn(&ours::Ours) -> f64| ours.iter().map(of).collect::<Vec<_>>();
    let theirs = |of: fn(&peer::Round) -> f64| peers.iter().map(of).collect::<Vec<_>>();
    // Whoever runs kubeadm has a node to use when both are there.
    let usable = theirs(|round| round.ready.max(round.ended));
    table.compare(
        "config accepted to node Ready | kubeadm init ended, node Ready",
        "s",
        &each(|round| round.ready),
        &usable,
        0.6,
    );
    table.beside(
        "config accepted to node Ready | kubeadm init begun to node Ready",
        "s",
        &each(|round| round.ready),
        &theirs(|round| round.ready),
    );
    table.beside(
        "config accepted to all settled | kubeadm init ended, node Ready",
        "s",
        &each(|round| round.settled),
        &usable,
    );
    if let Some(first) = ours.first() {
        first.agent.rows(table);
    }
    Ok(())
}
