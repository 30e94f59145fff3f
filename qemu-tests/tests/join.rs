//! A second machine joins as a worker: enrolled before there is a cluster to join,
//! it serves its own API at once, waits, joins, and carries pods that machines on
//! both sides can reach. Its kubelet serves with a certificate that the control plane approved. Then it is rebooted: what can run elsewhere leaves first, and
//! it comes back by itself.

use std::path::Path;

use anyhow::{Context, ensure};
use qemu_tests::{
    Deadline, Image, Lan, Machine, Spec, Workshop, apply, enrolment, gen_config_to_boot, kubectl,
    machinectl, put,
};

#[test]
fn a_worker_joins_and_comes_back() -> anyhow::Result<()> {
    let (image, shop) = (Image::from_env()?, Workshop::new("join")?);
    let home = shop.path();
    let words = "--name demo --endpoint 10.5.0.11:6443 --control-planes cp1 --workers w1 \
                 --cert-sans 127.0.0.1 --node-subnets 10.5.0.0/24 \
                 --allow-scheduling-on-control-planes";
    let words: Vec<_> = words.split_whitespace().collect();
    let demo = gen_config_to_boot(home, "demo", &words)?;
    let lan = Lan::new()?;
    let spec = |name: &str| -> anyhow::Result<Spec> {
        Ok(Spec {
            name: name.to_owned(),
            credentials: vec![("machined.enrolment".into(), enrolment(home, &demo, name)?)],
            lan: Some(lan.clone()),
            ..Spec::default()
        })
    };
    let (cp1, w1) = (spec("cp1")?, spec("w1")?);
    let mut worker = Machine::boot(&image, &shop, &w1)?;
    let w1_node = enrol(home, &demo, &worker, &w1, "10.5.0.12")?;
    // There is no cluster: the worker says what it waits for, to whoever asks.
    worker.console("w1 serves the machine API, generation 1", 120)?;
    let status = machinectl(home, &["status", "-n", &w1_node, "-o", "json"], 60)?;
    ensure!(status.contains("worker"), "{status}");

    let control_plane = Machine::boot(&image, &shop, &cp1)?;
    let cp1_node = enrol(home, &demo, &control_plane, &cp1, "10.5.0.11")?;
    control_plane.console("cp1 serves the machine API, generation 1", 120)?;
    machinectl(home, &["bootstrap", "-n", &cp1_node, "--wait"], 1200)?;
    let kubeconfig = home.join("kubeconfig");
    let path = kubeconfig.display().to_string();
    let server = ["--server", &control_plane.kube, "-o", &path];
    machinectl(
        home,
        &[&["kubeconfig", "-n", &cp1_node], &server[..]].concat(),
        60,
    )?;
    let joined = ["status", "-n", &w1_node, "--wait", "--timeout", "10h"];
    machinectl(home, &joined, 1200)?;
    let ready = [
        "wait",
        "--for=condition=Ready",
        "node/cp1",
        "node/w1",
        "--timeout=-1s",
    ];
    kubectl(&kubeconfig, &ready, 90)?;
    // What the worker shows by now was signed by the control plane.
    let signed = Deadline::new(120, "the control plane to sign the worker's key");
    while !machinectl(home, &["events", "-n", &cp1_node], 60)?.contains("PURPOSE_MACHINE_API") {
        signed.left()?;
    }
    // So was its kubelet's: nobody spent a token, which lives but a day.
    let asked = ["get", "csr", "-o", "jsonpath={.items[*].spec.username}"];
    let asked = kubectl(&kubeconfig, &asked, 60)?;
    ensure!(!asked.contains("system:bootstrap"), "{asked}");

    apply(home, &kubeconfig, "web.yaml", WEB)?;
    pods_reach_each_other(&kubeconfig)?;

    its_kubelet_serves_by_the_clusters_authority(&kubeconfig)?;

    let place = [
        "get",
        "pods",
        "-l",
        "app=roams",
        "-o",
        "jsonpath={.items[*].spec.nodeName}",
    ];
    let at = kubectl(&kubeconfig, &place, 60)?;
    ensure!(at == "w1", "it roams at {at:?} already");
    machinectl(
        home,
        &["reboot", "-n", &w1_node, "--drain-timeout", "4m"],
        60,
    )?;
    worker.ended(900)?;
    // It runs elsewhere while the machine is away: evicted, not only stopped.
    let rollout = ["rollout", "status", "deployment/roams", "--timeout=0"];
    kubectl(&kubeconfig, &rollout, 200)?;
    let at = kubectl(&kubeconfig, &place, 60)?;
    ensure!(at == "cp1", "not drained: it is at {at:?}");
    let worker = Machine::boot(&image, &shop, &w1)?;
    let w1_node = format!("w1={}", worker.api);
    worker.console("w1 serves the machine API", 120)?;
    let back = ["status", "-n", &w1_node, "--wait", "--timeout", "10h"];
    machinectl(home, &back, 1200)?;
    let cordoned = ["get", "node", "w1", "-o", "jsonpath={.spec.unschedulable}"];
    let cordoned = kubectl(&kubeconfig, &cordoned, 60)?;
    ensure!(cordoned.is_empty(), "still cordoned: {cordoned}");
    pods_reach_each_other(&kubeconfig)?;
    shop.done();
    Ok(())
}

/// The worker's kubelet asked for a certificate to serve with, the control plane approved it, and without
/// one kubelet answers nobody.
fn its_kubelet_serves_by_the_clusters_authority(kubeconfig: &Path) -> anyhow::Result<()> {
    let columns = "jsonpath={range .items[*]}{.spec.username} {.status.conditions[*].type} \
                   {.status.certificate}{\"\\n\"}{end}";
    let signer = "spec.signerName=kubernetes.io/kubelet-serving";
    let asked = ["get", "csr", "--field-selector", signer, "-o", columns];
    let signed = Deadline::new(240, "the worker kubelet's serving certificate");
    let w1 = |line: &str| line.starts_with("system:node:w1 Approved LS0t");
    while !kubectl(kubeconfig, &asked, 60)?.lines().any(w1) {
        signed.left()?;
    }
    let serves = Deadline::new(120, "the worker's kubelet to serve with it");
    let logs = ["logs", "-l", "app=roams", "--tail=1"];
    while let Err(error) = kubectl(kubeconfig, &logs, 60) {
        serves.left().with_context(|| format!("{error:#}"))?;
    }
    Ok(())
}

/// Hands a machine its config, with its second card's address in it, and a worker's kubelet one word more.
fn enrol(
    home: &Path,
    demo: &Path,
    machine: &Machine,
    spec: &Spec,
    address: &str,
) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(demo.join(format!("{}.yaml", spec.name)))?;
    // The first that fits a card counts: the one with an address of its own.
    let cards = format!(
        "machine:\n  network:\n    interfaces:\n      \
         - {{hardwareAddress: \"{}\", addresses: [{address}/24]}}\n      \
         - {{name: \"en*\", dhcp: true}}\n",
        spec.mac()
    );
    let serving = "machine:\n  kubelet: {extraConfig: {serverTLSBootstrap: true}}\n";
    let serving = match text.contains("\n  role: worker\n") {
        true => serving,
        false => "machine:\n",
    };
    let with_cards = text.replacen("machine:\n", &cards, 1);
    let with_cards = with_cards.replacen("machine:\n", serving, 1);
    ensure!(with_cards != text, "the config has changed its shape");
    let path = home.join(format!("{}.yaml", spec.name));
    put(&path, &with_cards)?;
    machine.console("machined: maintenance", 120)?;
    let node = format!("{}={}", spec.name, machine.api);
    let path = path.display().to_string();
    machinectl(home, &["apply-config", "-n", &node, "-f", &path], 60)?;
    Ok(node)
}

/// One pod a machine, each saying where it is.
const WEB: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: "localhost/machined/embedded:1", imagePullPolicy: Never,
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}],
        command: [/usr/bin/socat, "TCP-LISTEN:8080,fork,reuseaddr", 'SYSTEM:echo from $NODE'],
        volumeMounts: [{name: usr, mountPath: /usr, readOnly: true}]}]
      volumes: [{name: usr, hostPath: {path: /usr}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: roams}
spec:
  selector: {matchLabels: {app: roams}}
  template:
    metadata: {labels: {app: roams}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100,
        preference: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [w1]}]}}]}}
      containers: [{name: main, image: "localhost/machined/embedded:1", imagePullPolicy: Never,
        command: [/usr/bin/sleep, "100000"],
        volumeMounts: [{name: usr, mountPath: /usr, readOnly: true}]}]
      volumes: [{name: usr, hostPath: {path: /usr}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.7.7, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// After a reboot the cluster believes for a while what was, and kube-proxy may be
/// a moment behind: everything is asked anew until it holds.
fn pods_reach_each_other(kubeconfig: &Path) -> anyhow::Result<()> {
    let rollout = ["rollout", "status", "daemonset/web", "--timeout=0"];
    kubectl(kubeconfig, &rollout, 400)?;
    let deadline = Deadline::new(400, "the pods to reach each other and their service");
    while let Err(why) = all_answer(kubeconfig) {
        eprintln!("not yet: {why:#}");
        deadline.left()?;
    }
    Ok(())
}

fn all_answer(kubeconfig: &Path) -> anyhow::Result<()> {
    let columns =
        "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP}{\"\\n\"}{end}";
    let get = ["get", "pods", "-l", "app=web", "-o", columns];
    let table = kubectl(kubeconfig, &get, 60)?;
    let pods: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let [one, other] = pods.as_slice() else {
        anyhow::bail!("{} pods: {table}", pods.len());
    };
    for (from, to) in [(one, other), (other, one)] {
        let (&[from, ..], &[_, node, address]) = (from.as_slice(), to.as_slice()) else {
            anyhow::bail!("a pod has no address: {table}");
        };
        let said = ask(kubeconfig, from, &format!("{address}:8080"))?;
        ensure!(said.contains(&format!("from {node}")), "{said:?} of {to:?}");
        let said = ask(kubeconfig, from, "10.96.7.7:80")?;
        ensure!(said.contains("from "), "the service says {said:?}");
    }
    Ok(())
}

/// Asks from inside a pod.
fn ask(kubeconfig: &Path, pod: &str, address: &str) -> anyhow::Result<String> {
    let to = format!("TCP:{address},connect-timeout=5");
    let exec = ["exec", pod, "--", "/usr/bin/socat", "-u", &to, "-"];
    kubectl(kubeconfig, &exec, 60)
}
