//! Three control planes, enrolled by one command while there is no cluster, come together by
//! themselves as soon as one of them is told to begin.

use std::time::Instant;

use qemu_tests::netns::Cluster;

const DOUBLE: &str = env!("CARGO_BIN_EXE_node-double");
const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

#[test]
fn three_control_planes_come_together() -> anyhow::Result<()> {
    let mut cluster = Cluster::new("netns-three", DOUBLE, &ALL)?;
    cluster.power_on(&ALL)?;
    cluster.enrol(&ALL)?;
    let begun = Instant::now();
    cluster.bootstrap("cp1", 180)?;
    let one = begun.elapsed();
    cluster.until_together(&ALL, 180)?;
    let three = begun.elapsed();
    for name in ALL {
        let at = cluster.at(name)?;
        let settled = ["status", "-n", &at, "--wait", "--timeout", "10h"];
        cluster.machinectl(&settled, 120)?;
    }
    eprintln!(
        "one in {:.1} s, three in {:.1} s",
        one.as_secs_f64(),
        three.as_secs_f64()
    );
    cluster.done();
    Ok(())
}
