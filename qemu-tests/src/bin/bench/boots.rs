//! Kernel start to the machine API, against the same image without the agent.

use qemu_tests::{Machine, Spec, Workshop};

use crate::guest::{WITHOUT_AGENT, unit};
use crate::settings::Settings;
use crate::table::Table;

/// Tells the guest's own time since its kernel started, once `AFTER` is up. The
/// same unit on both sides, so its own cost is too.
const STAMP: &str = r#"[Unit]
Description=Bench stamp
DefaultDependencies=no
After=AFTER
[Service]
Type=oneshot
ExecStart=/usr/bin/sh -c 'read -r up _ </proc/uptime; echo bench: up at $$up >/dev/console'
"#;

/// Boots both in turn; the best of each counts, because a busy host only adds.
pub fn compare(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 1..=settings.boots {
        eprintln!("bench: boot {round} of {}", settings.boots);
        ours.push(boot(settings, "machined.service", "")?);
        peer.push(boot(settings, "multi-user.target", WITHOUT_AGENT)?);
    }
    let best = |of: &[f64]| of.iter().copied().fold(f64::INFINITY, f64::min);
    table.compare(
        "kernel start to maintenance API | to multi-user.target without the agent",
        "s",
        &[best(&ours)],
        &[best(&peer)],
        1.03,
    );
    table.note(format!("boots: {ours:.2?} against {peer:.2?}"));
    Ok(())
}

fn boot(settings: &Settings, after: &str, append: &str) -> anyhow::Result<f64> {
    let shop = Workshop::new("bench-boot")?;
    let stamp = unit("bench-stamp.service", &STAMP.replace("AFTER", after));
    let spec = Spec {
        name: "boot".to_owned(),
        credentials: vec![stamp.credential],
        append: format!("{append} {}", stamp.append),
        ..Spec::default()
    };
    let machine = Machine::boot(&settings.image()?, &shop, &spec)?;
    let line = machine.console("bench: up at ", 120)?;
    machine.cut_power();
    shop.done();
    last_number(&line)
}

/// The number at the end of a line that a guest stamped.
pub fn last_number(line: &str) -> anyhow::Result<f64> {
    let word = line.split_whitespace().last().unwrap_or_default();
    word.parse()
        .map_err(|e| anyhow::anyhow!("the guest's line {line:?} ends in no number: {e}"))
}
