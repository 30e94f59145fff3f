//! The agent while it has nothing to do, read without asking it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use qemu_tests::{Deadline, machinectl};

use crate::table::Table;

/// Reads, without asking the agent, what the kernel knows of it, every ten seconds.
pub const PROBE: &str = r#"while sleep 10; do
    cgroup=/sys/fs/cgroup/system.slice/machined.service
    read -r pid <$cgroup/cgroup.procs && [ "$pid" ] || continue
    read -r _ usage <$cgroup/cpu.stat
    read -r up _ </proc/uptime
    while read -r key value _; do
        case $key in VmHWM:) peak=$value ;; VmRSS:) rss=$value ;; RssAnon:) anon=$value ;; esac
    done </proc/$pid/status
    echo "bench: agent up=$up usage=$usage peak=$peak rss=$rss anon=$anon pid=$pid." >/dev/console
done
"#;

/// The unit that runs it.
pub const UNIT: &str = "[Unit]\nDescription=Bench probe\n[Service]\nImportCredential=bench.probe\n\
    ExecStart=/usr/bin/sh %d/bench.probe\n";

/// From the moment the machine is settled to the first sample that counts.
const CALM: Duration = Duration::from_secs(30);

/// How long the settled agent is watched.
const WATCHED: Duration = Duration::from_secs(120);

/// One line of the probe.
struct Sample {
    up: f64,
    usage_us: f64,
    peak_kib: f64,
    rss_kib: f64,
    anon_kib: f64,
    pid: f64,
}

/// What was seen of the agent once it had nothing left to do.
pub struct Agent {
    first: Sample,
    last: Sample,
    looks: u64,
}

/// Leaves the settled machine alone, and reads what its probe wrote meanwhile.
pub fn watch(home: &Path, node: &str) -> anyhow::Result<Agent> {
    let before = looks(home, node)?;
    let seconds = (CALM + WATCHED).as_secs();
    eprintln!("bench: leaving the settled agent alone for {seconds} s");
    let log = home.join("cp1.serial.log");
    std::thread::sleep(CALM);
    let calm = samples(&log)?.len();
    std::thread::sleep(WATCHED);
    // A sample comes every ten seconds, later on a slow machine.
    let deadline = Deadline::new(60, "samples of the settled agent");
    let mut seen = samples(&log)?;
    while seen.len() < calm + 2 {
        deadline.left()?;
        std::thread::sleep(Duration::from_secs(1));
        seen = samples(&log)?;
    }
    // The window is between samples, so what is asked here is outside of it.
    let looks = looks(home, node)?.saturating_sub(before);
    let last = seen.pop().context("no last sample")?;
    Ok(Agent {
        first: seen.swap_remove(calm),
        last,
        looks,
    })
}

fn looks(home: &Path, node: &str) -> anyhow::Result<u64> {
    let text = machinectl(home, &["status", "-n", node, "-o", "json"], 60)?;
    let digits = text.split("\"looks\":").nth(1).map(|rest| {
        let rest = rest.trim_start().chars();
        rest.take_while(char::is_ascii_digit).collect::<String>()
    });
    let digits = digits.with_context(|| format!("no looks in the status {text}"))?;
    digits
        .parse()
        .with_context(|| format!("looks are {digits:?}"))
}

fn samples(log: &Path) -> anyhow::Result<Vec<Sample>> {
    let bytes = std::fs::read(log).with_context(|| format!("read {}", log.display()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The full stop says that the line is whole.
    let whole = |line: &&str| line.contains("bench: agent ") && line.trim_end().ends_with('.');
    Ok(text.lines().filter(whole).filter_map(sample).collect())
}

fn sample(line: &str) -> Option<Sample> {
    let line = line.trim_end().trim_end_matches('.');
    let field = |name: &str| {
        let mut words = line
            .split_whitespace()
            .filter_map(|word| word.split_once('='));
        words.find(|(key, _)| *key == name)?.1.parse().ok()
    };
    Some(Sample {
        up: field("up")?,
        usage_us: field("usage")?,
        peak_kib: field("peak")?,
        rss_kib: field("rss")?,
        anon_kib: field("anon")?,
        pid: field("pid")?,
    })
}

impl Agent {
    /// Its rows of the table.
    pub fn rows(&self, table: &mut Table) {
        let (first, last) = (&self.first, &self.last);
        let mib = |kib: f64| kib / 1024.0;
        table.bound("agent: resident, steady", "MiB", mib(last.rss_kib), 12.0);
        let parts = format!("{:.1} MiB", mib(last.anon_kib));
        table.tell("agent: of that its own, not the file's pages", parts);
        table.tell(
            "agent: resident, peak since it started",
            format!("{:.1} MiB", mib(last.peak_kib)),
        );
        let window = last.up - first.up;
        let percent = (last.usage_us - first.usage_us) / 1e6 / window * 100.0;
        table.bound("agent: processor when idle", "% of a core", percent, 0.1);
        table.tell(
            "agent: full looks from settled to the end of that",
            self.looks.to_string(),
        );
        table.note(format!("idle window: {window:.0} s of the guest's time"));
        if (first.pid - last.pid).abs() > 0.5 {
            table.note(
                "the agent was restarted inside the idle window: its figures are of two processes",
            );
        }
    }
}
