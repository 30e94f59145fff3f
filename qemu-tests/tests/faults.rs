//! What breaks on real machines: each fault is really caused, is named on the
//! console and in status, costs nothing that was accepted, and is over when its
//! cause is.

use std::path::Path;

use anyhow::ensure;
use qemu_tests::{
    Deadline, Image, Machine, Spec, Workshop, machinectl, machinectl_fails, put, run,
};

// Holds the machine API's port before the agent can; stopped by the story.
const HOLDER: &str = "[Unit]
Before=machined.service
[Service]
Type=exec
ExecStart=/usr/bin/socat TCP6-LISTEN:50000,ipv6only=0,reuseaddr,fork -
";

#[test]
fn faults_are_named_lose_nothing_and_end_with_their_cause() -> anyhow::Result<()> {
    let (image, shop) = (Image::from_env()?, Workshop::new("faults")?);
    let home = shop.path();
    let (bundle, config) = prepared(home)?;
    let enrolment = ("machined.enrolment".to_owned(), bundle);
    let spec = Spec {
        name: "cp1".to_owned(),
        credentials: vec![enrolment.clone()],
        shell: true,
        ..Spec::default()
    };
    let holder = "systemd.extra-unit.holder.service".to_owned();
    let first = Spec {
        credentials: vec![enrolment, (holder, HOLDER.as_bytes().to_vec())],
        append: "systemd.wants=holder.service".to_owned(),
        ..spec.clone()
    };

    let mut machine = Machine::boot(&image, &shop, &first)?;
    let node = format!("cp1={}", machine.api);
    a_port_in_use(&mut machine)?;
    machinectl(home, &["apply-config", "-n", &node, "-f", &config], 60)?;
    machine.console("cp1 serves the machine API, generation 1", 60)?;
    a_full_disk(home, &mut machine, &node, &config)?;
    a_bus_that_goes_away(home, &mut machine, &node)?;

    let ruin = "printf ruin >/var/lib/machined/ledger/0000000003.generation && sync";
    machine.sh(ruin, 30)?;
    machine.cut_power();
    let back = Spec {
        clock: Some(clock("1 year ago")?),
        ..spec.clone()
    };
    let mut machine = Machine::boot(&image, &shop, &back)?;
    let node = format!("cp1={}", machine.api);
    a_clock_and_a_generation_that_are_wrong(home, &mut machine, &node, &config)?;

    let ruin = "for f in /var/lib/machined/ledger/*.generation; do printf ruin >$f; done; sync";
    machine.sh(ruin, 30)?;
    machine.cut_power();
    let ahead = Spec {
        clock: Some(clock("13 months")?),
        ..spec
    };
    let mut machine = Machine::boot(&image, &shop, &ahead)?;
    let node = format!("cp1={}", machine.api);
    machine.console(
        "machined: state-unreadable ledger: this machine had a config",
        180,
    )?;
    machine.console("machined: maintenance", 60)?;
    a_clock_that_is_ahead(home, &mut machine, &node, &config)?;
    a_kubelet_that_does_not_start(home, &mut machine, &node, &config)?;

    shop.done();
    Ok(())
}

#[test]
fn a_state_partition_that_cannot_be_mounted_is_said_and_tried_again() -> anyhow::Result<()> {
    let (image, shop) = (Image::from_env()?, Workshop::new("no-state")?);
    let spec = Spec {
        name: "cp1".to_owned(),
        shell: true,
        ..Spec::default()
    };
    let mut machine = Machine::boot(&image, &shop, &spec)?;
    machine.console("machined: maintenance", 180)?;
    let ruin = "dd if=/dev/zero of=/dev/disk/by-partlabel/state bs=1M count=8 conv=fsync";
    machine.sh(ruin, 60)?;
    machine.cut_power();
    let mut machine = Machine::boot(&image, &shop, &spec)?;
    machine.console("machined: state-unreadable /var: the partition cannot", 120)?;
    machine.sh("mkfs.ext4 -q -F /dev/disk/by-partlabel/state", 120)?;
    machine.console("machined: state-unreadable /var is over", 120)?;
    machine.console("machined: maintenance", 60)?;
    machine.sh("systemctl is-active systemd-networkd.service", 30)?;
    shop.done();
    Ok(())
}

fn prepared(home: &Path) -> anyhow::Result<(Vec<u8>, String)> {
    let at = |name: &str| home.join(name).display().to_string();
    let folder = at("demo");
    let gen_config = [
        "gen",
        "config",
        "--name",
        "demo",
        "--endpoint",
        "10.0.2.15:6443",
        "--control-planes",
        "cp1",
        "--node-subnets",
        "10.0.2.0/24",
        "-o",
        &folder,
    ];
    machinectl(home, &gen_config, 30)?;
    let (secrets, bundle) = (at("demo/secrets.yaml"), at("cp1.enrolment"));
    let gen_enrolment = [
        "gen",
        "enrolment",
        "cp1",
        "--secrets",
        &secrets,
        "-o",
        &bundle,
    ];
    machinectl(home, &gen_enrolment, 30)?;
    Ok((std::fs::read(bundle)?, at("demo/cp1.yaml")))
}

// By the clock in maintenance nobody's certificate is valid any more; a month's is, and
// then only the sender's own clock tells.
fn a_clock_that_is_ahead(
    home: &Path,
    machine: &mut Machine,
    node: &str,
    config: &str,
) -> anyhow::Result<()> {
    let apply = ["apply-config", "-n", node, "-f", config];
    let refused = machinectl_fails(home, &apply, 60)?;
    ensure!(refused.stderr.contains("clock"), "{}", refused.stderr);
    machine.console("machined: clock-wrong client certificate: it says ", 30)?;
    machine.sh(&format!("date -u -s {}", clock("1 month")?), 30)?;
    machinectl(home, &apply, 60)?;
    machine.console("machined: clock-wrong client certificate is over", 30)?;
    machine.console("config accepted as generation 5", 30)?;
    machine.console("machined: clock-wrong clock: it says ", 120)?;
    machine.sh(&format!("date -u -s {}", clock("now")?), 30)?;
    machine.console("machined: clock-wrong clock is over", 60)?;
    // Its own certificate began in what is the future now: it makes another.
    let deadline = Deadline::new(90, "a certificate of the present");
    while machinectl(home, &["status", "-n", node], 60).is_err() {
        deadline.left()?;
    }
    Ok(())
}

/// What a clock says that is that far off, in date's words.
fn clock(off: &str) -> anyhow::Result<String> {
    let ask = ["-u", "-d", off, "+%Y-%m-%dT%H:%M:%S"];
    Ok(run(Path::new("date"), &ask, &[], 10)?
        .stdout
        .trim()
        .to_owned())
}

/// The config with some text after the line `machine:`.
fn changed(home: &Path, name: &str, config: &str, text: &str) -> anyhow::Result<String> {
    let before = std::fs::read_to_string(config)?;
    let after = before.replacen("machine:\n", &format!("machine:\n{text}"), 1);
    ensure!(after != before, "the config has changed its shape");
    let path = home.join(name);
    put(&path, &after)?;
    Ok(path.display().to_string())
}

/// Asks for the status until it has these words.
fn status_has(home: &Path, node: &str, words: &[&str]) -> anyhow::Result<String> {
    let deadline = Deadline::new(120, format!("status with {words:?}"));
    loop {
        let status = machinectl(home, &["status", "-n", node], 60)?;
        if words.iter().all(|word| status.contains(word)) {
            return Ok(status);
        }
        deadline.left()?;
    }
}

fn a_port_in_use(machine: &mut Machine) -> anyhow::Result<()> {
    machine.console("machined: port-in-use port 50000: ", 180)?;
    machine.sh("systemctl stop holder.service", 30)?;
    machine.console("machined: port-in-use port 50000 is over", 30)?;
    machine.console("machined: maintenance", 30)?;
    // One process all the while: no loop of restarts.
    machine.sh(
        "[ $(systemctl show -P NRestarts machined.service) = 0 ]",
        30,
    )?;
    Ok(())
}

fn a_kubelet_that_does_not_start(
    home: &Path,
    machine: &mut Machine,
    node: &str,
    config: &str,
) -> anyhow::Result<()> {
    let bad = "  kubelet:\n    extraArgs:\n      - {name: no-such-flag, value: \"1\"}\n";
    let bad = changed(home, "bad-kubelet.yaml", config, bad)?;
    machinectl(home, &["apply-config", "-n", node, "-f", &bad], 60)?;
    // Until there is a pod to run, kubelet is not started.
    machinectl(home, &["bootstrap", "-n", node], 60)?;
    machine.console("machined: unit-crash-loop kubelet.service: ", 240)?;
    let words = [
        "unit-crash-loop kubelet.service",
        "result exit-code (status ",
        "unknown flag: --no-such-flag",
    ];
    status_has(home, node, &words)?;
    machinectl(home, &["apply-config", "-n", node, "-f", config], 60)?;
    machine.console("machined: unit-crash-loop kubelet.service is over", 120)?;
    Ok(())
}

// Files of ever smaller sizes, until root's own reserve is gone too.
const FILL: &str = "mkdir /var/filler; n=0; for s in 1G 64M 4M 256K 4K; do \
    while fallocate -l $s /var/filler/$n 2>/dev/null; do n=$((n+1)); done; done; df /var";

fn a_full_disk(home: &Path, machine: &mut Machine, node: &str, config: &str) -> anyhow::Result<()> {
    machine.sh(FILL, 120)?;
    machine.console("machined: disk-full /var: ", 60)?;
    let text = "  sysctls:\n    vm.swappiness: \"7\"\n";
    let new = changed(home, "new.yaml", config, text)?;
    let refused = machinectl_fails(home, &["apply-config", "-n", node, "-f", &new], 60)?;
    for words in [
        "/var/lib/machined/ledger",
        "nothing was accepted",
        "free space",
    ] {
        ensure!(
            refused.stderr.contains(words),
            "no {words:?}: {}",
            refused.stderr
        );
    }
    let status = status_has(home, node, &["disk-full /var"])?;
    ensure!(status.contains("free space"), "no next step: {status}");
    machine.sh("rm -r /var/filler", 60)?;
    machine.console("machined: disk-full /var is over", 60)?;
    // What was accepted before is all there, and the refused one is welcome now.
    machinectl(home, &["apply-config", "-n", node, "-f", &new], 60)?;
    let history = machinectl(home, &["config", "history", "-n", node], 60)?;
    ensure!(history.lines().count() == 3, "two generations: {history}");
    machinectl(home, &["apply-config", "-n", node, "-f", config], 60).map(drop)
}

fn a_bus_that_goes_away(home: &Path, machine: &mut Machine, node: &str) -> anyhow::Result<()> {
    machine.sh("systemctl stop dbus.socket dbus-broker.service", 60)?;
    machine.console("machined: bus-away system bus: ", 60)?;
    status_has(home, node, &["bus-away system bus", "next:"])?;
    machine.sh("systemctl start dbus.socket dbus-broker.service", 60)?;
    machine.console("machined: bus-away system bus is over", 60)?;
    Ok(())
}

fn a_clock_and_a_generation_that_are_wrong(
    home: &Path,
    machine: &mut Machine,
    node: &str,
    config: &str,
) -> anyhow::Result<()> {
    machine.console("cp1 serves the machine API, generation 2", 180)?;
    machine.console("machined: state-unreadable ledger: ", 60)?;
    machine.console("machined: clock-wrong clock: ", 60)?;
    // Both ends' certificates are valid by the mended clock, or this would fail.
    let words = ["clock-wrong", "state-unreadable", "0000000003.generation"];
    status_has(home, node, &words)?;
    machinectl(home, &["apply-config", "-n", node, "-f", config], 60)?;
    machine.console("machined: state-unreadable ledger is over", 60)?;
    // As timesyncd says that a server has told the time.
    machine.sh(
        "mkdir -p /run/systemd/timesync && touch /run/systemd/timesync/synchronized",
        30,
    )?;
    machine.console("machined: clock-wrong clock is over", 60)?;
    Ok(())
}
