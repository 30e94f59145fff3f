//! Three control planes join in parallel while agents and members are killed and machines lose their
//! power, over and over and at random: none of it may cost more than time. `NETNS_SEED` replays a
//! run's choices, `NETNS_RUNS` says how many runs there are.

use std::time::Duration;

use anyhow::Context;
use qemu_tests::Deadline;
use qemu_tests::netns::Cluster;

const DOUBLE: &str = env!("CARGO_BIN_EXE_node-double");
const ALL: [&str; 3] = ["cp1", "cp2", "cp3"];

/// How often something is done to them in a run.
const BLOWS: u32 = 12;

/// The longest pause between two, in milliseconds.
const PAUSE: u64 = 5000;

#[test]
fn joins_survive_kills_and_power_cuts() -> anyhow::Result<()> {
    let number = |name: &str| {
        let text = std::env::var(name).ok();
        text.map(|text| {
            text.parse::<u64>()
                .with_context(|| format!("{name}={text}"))
        })
        .transpose()
    };
    let runs = number("NETNS_RUNS")?.unwrap_or(1);
    let seed = match number("NETNS_SEED")? {
        Some(seed) => seed,
        None => std::time::UNIX_EPOCH.elapsed()?.as_secs(),
    };
    for seed in seed..seed + runs {
        eprintln!("NETNS_SEED={seed}");
        run(seed).with_context(|| format!("replay with NETNS_SEED={seed} NETNS_RUNS=1"))?;
    }
    Ok(())
}

fn run(seed: u64) -> anyhow::Result<()> {
    let mut random = Random(seed);
    let mut cluster = Cluster::new("netns-kills", DOUBLE, &ALL)?;
    cluster.power_on(&ALL)?;
    cluster.enrol(&ALL)?;
    let at = cluster.at("cp1")?;
    cluster.machinectl(&["bootstrap", "-n", &at], 60)?;
    for _ in 0..BLOWS {
        // At any moment of what takes them ten to thirty seconds undisturbed.
        std::thread::sleep(Duration::from_millis(random.below(PAUSE)));
        let name = ALL[usize::try_from(random.below(3))?];
        match random.below(5) {
            0 | 1 => {
                cluster.cut_power(name)?;
                cluster.power_on(&[name])?;
            }
            // Where there is none yet, nothing happens.
            2 => cluster.node(name)?.kill("etcd")?,
            _ => cluster.node(name)?.kill("machined.service")?,
        }
    }
    cluster.until(180, "an administrator's kubeconfig", |this, _| {
        this.take_kubeconfig("cp1")
    })?;
    cluster.until_together(&ALL, 300)?;
    for name in ALL {
        let at = cluster.at(name)?;
        let settled = ["status", "-n", &at, "--wait", "--timeout", "10h"];
        cluster.machinectl(&settled, 180)?;
    }
    one_cluster(&mut cluster)?;
    cluster.done();
    Ok(())
}

/// Everyone has the same members and the same leader.
fn one_cluster(cluster: &mut Cluster) -> anyhow::Result<()> {
    let deadline = Deadline::new(30, "everyone's word on the members");
    let mut words = Vec::new();
    for name in ALL {
        let members = cluster.members(&[name], &deadline)?;
        let ids = members.into_iter().map(|m| (m.name, m.id));
        let mut ids: Vec<_> = ids.collect();
        ids.sort();
        words.push(ids);
    }
    anyhow::ensure!(words[0] == words[1] && words[1] == words[2], "{words:?}");
    Ok(())
}

/// The same numbers for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
