//! A machine from nothing to a cluster that runs workloads, enrolled by the
//! trust anchor it was given before boot, and what must not work on the way.

use std::path::Path;

use anyhow::ensure;
use qemu_tests::{
    Image, Machine, Spec, Workshop, apply, enrolment, gen_config, gen_config_to_boot, kubectl,
    machinectl, machinectl_fails, put,
};

#[test]
fn a_machine_becomes_a_cluster_and_stays_one() -> anyhow::Result<()> {
    let (image, shop) = (Image::from_env()?, Workshop::new("whole-path")?);
    let home = shop.path();
    let at = |name: &str| home.join(name).display().to_string();
    let words = "--name demo --endpoint 10.0.2.15:6443 --control-planes cp1 --cert-sans 127.0.0.1 \
                 --node-subnets 10.0.2.0/24 --allow-scheduling-on-control-planes";
    let words: Vec<_> = words.split_whitespace().collect();
    let demo = gen_config_to_boot(home, "demo", &words)?;
    let config = at("demo/cp1.yaml");
    let bundle = enrolment(home, &demo, "cp1")?;
    let spec = Spec {
        name: "cp1".to_owned(),
        credentials: vec![("machined.enrolment".to_owned(), bundle)],
        shell: true,
        ..Spec::default()
    };
    let machine = Machine::boot(&image, &shop, &spec)?;
    machine.console("machined: maintenance", 120)?;
    let node = format!("cp1={}", machine.api);

    strangers_are_refused(home, &node)?;
    every_problem_is_named(home, &node, &config)?;

    machinectl(home, &["apply-config", "-n", &node, "-f", &config], 60)?;
    machine.console("config accepted as generation 1", 30)?;
    // The power goes at the moment the acceptance was acknowledged.
    machine.cut_power();
    let mut machine = Machine::boot(&image, &shop, &spec)?;
    machine.console("cp1 serves the machine API, generation 1", 120)?;
    let node = format!("cp1={}", machine.api);
    let again = machinectl_fails(
        home,
        &["apply-config", "-n", &node, "-f", &at("nothing.yaml")],
        30,
    )?;
    ensure!(again.stderr.contains("nothing.yaml"), "{}", again.stderr);

    machinectl(home, &["bootstrap", "-n", &node], 60)?;
    // While it works on it, at moments that get further apart: each finds it at something else.
    machine.sh(KILLS, 30)?;
    let settled = ["status", "-n", &node, "--wait", "--timeout", "10h"];
    machinectl(home, &settled, 1200)?;
    machine.console("story: the agent was killed 14 times", 600)?;
    machinectl(home, &settled, 1200)?;
    let kubeconfig = home.join("kubeconfig");
    let path = kubeconfig.display().to_string();
    machinectl(
        home,
        &[
            "kubeconfig",
            "-n",
            &node,
            "--server",
            &machine.kube,
            "-o",
            &path,
        ],
        60,
    )?;
    let ready = ["wait", "--for=condition=Ready", "node/cp1", "--timeout=-1s"];
    kubectl(&kubeconfig, &ready, 330)?;
    workloads_run(home, &kubeconfig)?;
    a_second_cluster_is_refused(home, &node)?;
    a_try_goes_back(home, &node, &config)?;
    a_try_that_nobody_can_reach_goes_back(home, &node, &config)?;
    a_killed_agent_goes_on(home, &mut machine, &kubeconfig, &node)?;
    // kubelet may be about to start the API server anew: the power goes in the middle of it.
    an_etcd_that_is_down_is_named(home, &mut machine, &node)?;

    machine.cut_power();
    let machine = Machine::boot(&image, &shop, &spec)?;
    let node = format!("cp1={}", machine.api);
    machine.console("cp1 serves the machine API", 120)?;
    machinectl(
        home,
        &["status", "-n", &node, "--wait", "--timeout", "10h"],
        1200,
    )?;
    shop.done();
    Ok(())
}

fn strangers_are_refused(home: &Path, node: &str) -> anyhow::Result<()> {
    // Another cluster's administrator: right in every way but the authority.
    let other = home.join("other");
    std::fs::create_dir_all(&other)?;
    let words = ["--name", "other", "--endpoint", "192.0.2.1:6443"];
    gen_config(
        &other,
        "out",
        &[&words[..], &["--control-planes", "cp1"]].concat(),
    )?;
    let config = other.join("out/cp1.yaml").display().to_string();
    let refused = machinectl_fails(&other, &["apply-config", "-n", node, "-f", &config], 60)?;
    ensure!(
        refused.stderr.contains("certificate"),
        "unclear: {}",
        refused.stderr
    );
    // A code is of no use where certificates prove both ends.
    let code = "AAAAA-AAAAA-AAAAA-AAAAA";
    machinectl_fails(
        &other,
        &["apply-config", "-n", node, "-f", &config, "--code", code],
        60,
    )?;
    Ok(())
}

fn every_problem_is_named(home: &Path, node: &str, config: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(config)?;
    let bad = text
        .replace("hostname: cp1", "hostname: CP_1\n  hostnam: cp1")
        .replace("kubernetesVersion: v1.20.2", "kubernetesVersion: v1.99.0");
    ensure!(bad != text, "the config has changed its shape");
    let path = home.join("bad.yaml");
    put(&path, &bad)?;
    let path = path.display().to_string();
    let refused = machinectl_fails(home, &["apply-config", "-n", node, "-f", &path], 60)?;
    for words in [
        "machine.hostnam:",
        "machine.hostname:",
        "v1.99.0",
        "bad.yaml:5:",
    ] {
        ensure!(
            refused.stderr.contains(words),
            "{words} is not named: {}",
            refused.stderr
        );
    }
    ensure!(refused.code == 3, "exit code {}", refused.code);
    Ok(())
}

const WORKLOADS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: "localhost/machined/embedded:1", imagePullPolicy: Never,
        command: [/usr/bin/sh, -c, "echo it runs; exec /usr/bin/sleep 100000"],
        volumeMounts: [{name: usr, mountPath: /usr, readOnly: true}]}]
      volumes: [{name: usr, hostPath: {path: /usr}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: main, image: "localhost/machined/embedded:1", imagePullPolicy: Never,
        command: [/usr/bin/sh, -c, "echo it runs; exec /usr/bin/sleep 100000"],
        volumeMounts: [{name: usr, mountPath: /usr, readOnly: true}]}]
      volumes: [{name: usr, hostPath: {path: /usr}}]
"#;

fn workloads_run(home: &Path, kubeconfig: &Path) -> anyhow::Result<()> {
    apply(home, kubeconfig, "workloads.yaml", WORKLOADS)?;
    kubectl(
        kubeconfig,
        &["rollout", "status", "deployment/web", "--timeout=0"],
        400,
    )?;
    kubectl(
        kubeconfig,
        &["rollout", "status", "statefulset/db", "--timeout=0"],
        400,
    )?;
    let said = kubectl(kubeconfig, &["logs", "db-0"], 60)?;
    ensure!(said.contains("it runs"), "logs say {said:?}");
    let host = kubectl(kubeconfig, &["exec", "db-0", "--", "/usr/bin/hostname"], 60)?;
    ensure!(host.trim() == "db-0", "exec says {host:?}");
    Ok(())
}

fn a_second_cluster_is_refused(home: &Path, node: &str) -> anyhow::Result<()> {
    let refused = machinectl_fails(home, &["bootstrap", "-n", node], 60)?;
    ensure!(refused.stderr.contains("bootstrap"), "{}", refused.stderr);
    Ok(())
}

fn a_try_goes_back(home: &Path, node: &str, config: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(config)?;
    let tried = text.replacen(
        "machine:\n",
        "machine:\n  sysctls:\n    vm.swappiness: \"7\"\n",
        1,
    );
    ensure!(tried != text, "the config has changed its shape");
    let path = home.join("tried.yaml");
    put(&path, &tried)?;
    let path = path.display().to_string();
    let apply = [
        "apply-config",
        "-n",
        node,
        "-f",
        &path,
        "--mode",
        "try",
        "--timeout",
        "20s",
    ];
    machinectl(home, &apply, 60)?;
    // Neither a dry run nor an invalid document touches the pending try.
    machinectl(
        home,
        &["apply-config", "-n", node, "-f", config, "--dry-run"],
        60,
    )?;
    let bad = home.join("bad.yaml").display().to_string();
    machinectl_fails(home, &["apply-config", "-n", node, "-f", &bad], 60)?;
    let deadline = qemu_tests::Deadline::new(120, "the try to go back");
    loop {
        let history = machinectl(home, &["config", "history", "-n", node], 60)?;
        if history.contains("reverted") {
            return Ok(());
        }
        deadline.left()?;
    }
}

/// With an address that leads nowhere nobody can confirm it, or ask the machine anything.
fn a_try_that_nobody_can_reach_goes_back(
    home: &Path,
    node: &str,
    config: &str,
) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(config)?;
    let lost = "machine:\n  network: {interfaces: [{name: \"en*\", addresses: [192.0.2.7/24]}]}\n";
    let path = home.join("lost.yaml");
    put(&path, &text.replacen("machine:\n", lost, 1))?;
    let path = path.display().to_string();
    let words = ["apply-config", "-n", node, "-f", &path, "--mode", "try"];
    // Its answer may be lost with the address.
    if let Err(why) = machinectl(home, &[&words[..], &["--timeout", "45s"]].concat(), 60) {
        eprintln!("{why:#}");
    }
    let deadline = qemu_tests::Deadline::new(240, "the machine to be reachable again");
    let short = ["--request-timeout", "5s"];
    let history = [&["config", "history", "-n", node], &short[..]].concat();
    let mut away = false;
    loop {
        match machinectl(home, &history, 60) {
            Ok(history) if history.matches("reverted").count() == 2 => break,
            Ok(_) => {}
            Err(_) => away = true,
        }
        deadline.left()?;
    }
    ensure!(away, "the try was reachable all the time: it tried nothing");
    let settled = ["status", "-n", node, "--wait", "--timeout", "10h"];
    machinectl(home, &settled, 400).map(drop)
}

const KILLS: &str = "{ (n=0; for pause in 1 1 1 2 2 3 3 5 5 8 8 13 13 21; do sleep $pause; \
    systemctl kill -s KILL machined.service && n=$((n+1)); done; \
    echo story: the agent was killed $n times >/dev/console) >/dev/null 2>&1 </dev/null & }";

fn a_killed_agent_goes_on(
    home: &Path,
    machine: &mut Machine,
    kubeconfig: &Path,
    node: &str,
) -> anyhow::Result<()> {
    let pods = [
        "get",
        "pods",
        "-A",
        "-o",
        "jsonpath={.items[*].metadata.uid}",
    ];
    let before = kubectl(kubeconfig, &pods, 60)?;
    machine.sh("systemctl kill -s KILL machined.service", 30)?;
    machine.console("cp1 serves the machine API", 60)?;
    let settled = ["status", "-n", node, "--wait", "--timeout", "10h"];
    machinectl(home, &settled, 400)?;
    let ready = kubectl(kubeconfig, &["get", "node", "cp1"], 60)?;
    ensure!(ready.contains(" Ready"), "{ready}");
    let after = kubectl(kubeconfig, &pods, 60)?;
    ensure!(before == after, "pods were made anew: {before} {after}");
    Ok(())
}

/// Every process of this name, by what the kernel calls it.
fn signal(name: &str, signal: &str) -> String {
    format!(
        "for p in /proc/[0-9]*; do read -r name <$p/comm; \
         [ \"$name\" = {name} ] && kill -{signal} ${{p#/proc/}}; done 2>/dev/null; true"
    )
}

fn an_etcd_that_is_down_is_named(
    home: &Path,
    machine: &mut Machine,
    node: &str,
) -> anyhow::Result<()> {
    machine.sh(&signal("etcd", "STOP"), 60)?;
    machine.console("machined: etcd-down etcd: ", 240)?;
    let status = machinectl(home, &["status", "-n", node], 120)?;
    ensure!(status.contains("etcd-down"), "{status}");
    machine.sh(&signal("etcd", "CONT"), 60)?;
    machine
        .console("machined: etcd-down etcd is over", 240)
        .map(drop)
}
