//! From configs to a cluster: three control planes at once, against one, and against kubeadm.

use std::time::Instant;

use qemu_tests::netns::Cluster;

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
    let figure = "three control planes at once: 3 voters and 3 Ready | one";
    table.compare(figure, "s", &three, &one, 1.5);
    let figure = "three control planes at once | kubeadm init and two joins, 3 Ready";
    table.compare(figure, "s", &three, &peer, 0.4);
    Ok(())
}

/// Seconds from before the configs are sent until all have a vote and are Ready.
fn ours(settings: &Settings, names: &[&str]) -> anyhow::Result<f64> {
    let mut cluster = Cluster::new("bench-join", &settings.double, names)?;
    cluster.power_on(names)?;
    for name in names {
        cluster.node(name)?.console("machined: maintenance", 60)?;
    }
    let begun = Instant::now();
    cluster.enrol(names)?;
    cluster.bootstrap(names[0], 180)?;
    cluster.until_together(names, 180)?;
    let took = begun.elapsed().as_secs_f64();
    cluster.done();
    Ok(took)
}
