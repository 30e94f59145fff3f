//! From configs to a cluster: three control planes at once, against one, and against kubeadm.

use qemu_tests::netns::Cluster;

use crate::effort::{Begun, Effort};
use crate::kubeadm;
use crate::settings::Settings;
use crate::table::Table;

pub const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

/// Each in turn, as often as is asked.
pub fn compare(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let (mut one, mut three, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=settings.rounds {
        one.push(ours(settings, &ALL[..1])?);
        three.push(ours(settings, &ALL)?);
        peer.push(kubeadm::round(settings)?);
        eprintln!("bench: round {round}: one {one:.1?}, three {three:.1?}, kubeadm {peer:.1?}");
    }
    let [one, three, peer] = [one, three, peer].map(Column::of);
    let figure = "three control planes at once: 3 voters and 3 Ready | one";
    table.compare(figure, "s", &three.seconds, &one.seconds, 1.5);
    let figure = "the same: processor time of this host";
    table.beside(figure, "s", &three.processor, &one.processor);
    let figure = "the same: share of this host's processors in use";
    table.beside(figure, "", &three.busy, &one.busy);
    let figure = "three control planes at once | kubeadm init and two joins, 3 Ready";
    table.compare(figure, "s", &three.seconds, &peer.seconds, 0.4);
    let figure = "the same: processor time of this host";
    table.beside(figure, "s", &three.processor, &peer.processor);
    Ok(())
}

/// Efforts, figure by figure.
struct Column {
    seconds: Vec<f64>,
    processor: Vec<f64>,
    busy: Vec<f64>,
}

impl Column {
    fn of(efforts: Vec<Effort>) -> Self {
        let each = |of: fn(&Effort) -> f64| efforts.iter().map(of).collect();
        Self {
            seconds: each(|effort| effort.seconds),
            processor: each(|effort| effort.processor),
            busy: each(|effort| effort.busy),
        }
    }
}

/// From before the configs are sent until all have a vote and are Ready.
fn ours(settings: &Settings, names: &[&str]) -> anyhow::Result<Effort> {
    let mut cluster = Cluster::new("bench-join", &settings.double, names)?;
    cluster.power_on(names)?;
    for name in names {
        cluster.node(name)?.console("machined: maintenance", 60)?;
    }
    let begun = Begun::now()?;
    cluster.enrol(names)?;
    cluster.bootstrap(names[0], 180)?;
    cluster.until_together(names, 180)?;
    let took = begun.until_now()?;
    cluster.done();
    Ok(took)
}
