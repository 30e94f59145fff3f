//! Our way to a Ready node.

use std::path::Path;
use std::time::Instant;

use qemu_tests::{Machine, Spec, Workshop, machinectl};

use crate::agent::{self, Agent, PROBE, UNIT};
use crate::guest::{node_ready, unit};
use crate::settings::Settings;

/// One round.
pub struct Ours {
    /// Seconds from before the config is sent, so that enrolment counts too, to a Ready node.
    pub ready: f64,
    /// From there as well, until all is as desired: the cluster's objects and kube-proxy's applied.
    pub settled: f64,
    /// The agent afterwards.
    pub agent: Agent,
}

/// Boots a machine and gives it its config.
pub fn round(settings: &Settings, round: usize) -> anyhow::Result<Ours> {
    let shop = Workshop::new(&format!("bench-ours-{round}"))?;
    let home = shop.path();
    let at = |name: &str| home.join(name).display().to_string();
    let (cluster, bundle, kubeconfig) = (at("bench"), at("cp1.enrolment"), at("kubeconfig"));
    let (secrets, config) = (at("bench/secrets.yaml"), at("bench/cp1.yaml"));
    let mut words = vec!["gen", "config", "--name", "bench", "-o", &cluster];
    words.extend(["--endpoint", "10.0.2.15:6443", "--control-planes", "cp1"]);
    words.extend(["--cert-sans", "127.0.0.1", "--node-subnets", "10.0.2.0/24"]);
    machinectl(home, &words, 30)?;
    let words = ["gen", "enrolment", "cp1", "--secrets", &secrets, "-o"];
    machinectl(home, &[&words[..], &[bundle.as_str()]].concat(), 30)?;

    let probe = unit("bench-probe.service", UNIT);
    let spec = Spec {
        name: "cp1".to_owned(),
        credentials: vec![
            ("machined.enrolment".to_owned(), std::fs::read(&bundle)?),
            ("bench.probe".to_owned(), PROBE.as_bytes().to_vec()),
            probe.credential,
        ],
        append: probe.append,
        ..Spec::default()
    };
    let machine = Machine::boot(&settings.image()?, &shop, &spec)?;
    machine.console("machined: maintenance", 120)?;
    let node = format!("cp1={}", machine.api);

    let start = Instant::now();
    machinectl(home, &["apply-config", "-n", &node, "-f", &config], 60)?;
    machine.console("cp1 serves the machine API, generation 1", 60)?;
    machinectl(home, &["bootstrap", "-n", &node], 60)?;
    let words = ["kubeconfig", "-n", &node, "--server", &machine.kube, "-o"];
    machinectl(home, &[&words[..], &[kubeconfig.as_str()]].concat(), 60)?;
    let ready = (node_ready(&machine, Path::new(&kubeconfig))? - start).as_secs_f64();
    eprintln!("bench: machined: node Ready after {ready:.1} s");
    let wait = ["status", "-n", &node, "--wait", "--timeout", "10m"];
    machinectl(home, &wait, 600)?;
    let settled = start.elapsed().as_secs_f64();
    eprintln!("bench: machined: settled after {settled:.1} s");

    let agent = agent::watch(home, &node)?;
    machine.cut_power();
    shop.done();
    Ok(Ours {
        ready,
        settled,
        agent,
    })
}
