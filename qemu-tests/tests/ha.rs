//! Three control planes and a worker from one command. One loses its power while it joins; the holder of
//! the virtual IP is lost for good and replaced; the control planes reboot in turn while requests go on;
//! then two of three are lost, and the cluster is recovered from what the third has. A recipe of its own,
//! `just stories-ha`: emulated on two processors it takes the better part of an hour.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use qemu_tests::{Deadline, Image, Workshop, apply, kubectl, machinectl};

const CONTROL_PLANES: [&str; 3] = ["cp1", "cp2", "cp3"];
/// Where the second one is.
const CP2: &str = "198.51.100.12";
/// To the nodes of emulated machines, each an hour at most.
const LONG: u64 = 3600;

/// Between two questions: each one is a handshake, which an emulated machine has better uses for.
const PAUSE: Duration = Duration::from_secs(5);

/// Asks until it is so. Who cannot be asked yet is asked again.
fn until(
    seconds: u64,
    what: &str,
    mut so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Deadline::new(seconds, what);
    loop {
        let said = so();
        if matches!(said, Ok(true)) {
            return Ok(());
        }
        deadline.left().with_context(|| format!("{said:?}"))?;
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn three_control_planes_are_kept_and_made_again() -> anyhow::Result<()> {
    let (image, shop) = (Image::from_env()?, Workshop::new("ha")?);
    let cluster = Cluster { home: shop.path() };
    cluster.create(&image)?;
    let nodes = [
        "wait",
        "--for=condition=Ready",
        "node",
        "--all",
        "--timeout=600s",
    ];
    cluster.kubectl("cp1", &nodes)?;
    ensure!(cluster.voters("cp1")? == CONTROL_PLANES, "not three voters");

    apply(shop.path(), &cluster.kubeconfig(), "work.yaml", WORK)?;
    let rollout = ["rollout", "status", "statefulset/keeps", "--timeout=600s"];
    cluster.kubectl("cp1", &rollout)?;
    let keeps = cluster.keeps("cp1")?;

    let survivor = cluster.a_holder_is_lost()?;
    ensure!(
        cluster.keeps(survivor)? == keeps,
        "the stateful pod is another"
    );

    // Requests go on all the time, from the worker through its load balancer.
    let asked = cluster.requests("cp1")?;
    let together = CONTROL_PLANES.join(",");
    cluster.machinectl(&["reboot", "-n", &together, "--timeout", "1h"])?;
    let (good, failed) = cluster.requests("cp1")?;
    ensure!(good > asked.0 + 100, "only {} requests", good - asked.0);
    let failed = failed - asked.1;
    ensure!(
        failed == 0,
        "{failed} of {} requests failed",
        good - asked.0
    );
    ensure!(
        cluster.keeps("cp1")? == keeps,
        "the stateful pod is another"
    );

    cluster.the_quorum_is_lost()?;
    cluster.kubectl("cp1", &nodes)?;
    ensure!(
        cluster.keeps("cp1")? == keeps,
        "the stateful pod is another"
    );
    drop(cluster);
    shop.done();
    Ok(())
}

/// A stateful pod, and one that asks the API through its node's load balancer, over and over, and says how
/// often it was answered and how often not: what etcd has to be asked for. Both are on the worker.
const WORK: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: keeps}
spec:
  serviceName: keeps
  selector: {matchLabels: {app: keeps}}
  template:
    metadata: {labels: {app: keeps}}
    spec:
      containers: [{name: main, image: "localhost/machined/embedded:1", imagePullPolicy: Never,
        command: [/usr/bin/sleep, "1000000"],
        volumeMounts: [{name: usr, mountPath: /usr, readOnly: true}]}]
      volumes: [{name: usr, hostPath: {path: /usr}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: asks}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: default, namespace: default}]
---
apiVersion: v1
kind: Pod
metadata: {name: asks}
spec:
  hostNetwork: true
  containers:
  - name: main
    image: localhost/machined/embedded:1
    imagePullPolicy: Never
    command:
    - /usr/bin/sh
    - -c
    - |
      # It keeps its side open until it is answered: who hangs up has its question called off.
      cat >/tmp/ask <<'END'
      printf 'GET /api/v1/namespaces/default HTTP/1.1\r\nHost: kubernetes\r\nAuthorization: Bearer %s\r\n' \
        "$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)"
      printf 'Connection: close\r\n\r\n'
      cat >/tmp/said
      END
      good=0 failed=0
      while :; do
        : >/tmp/said
        /usr/bin/socat -t 20 OPENSSL:127.0.0.1:7445,verify=0,snihost=kubernetes,connect-timeout=20 \
          EXEC:'/usr/bin/sh /tmp/ask' 2>/tmp/why
        case $(cat /tmp/said) in
          'HTTP/1.1 200'*) good=$((good + 1)) ;;
          *) failed=$((failed + 1)); echo "failed: $(cat /tmp/said /tmp/why)" ;;
        esac
        echo "asked $good $failed"
      done
    volumeMounts: [{name: usr, mountPath: /usr, readOnly: true}]
  volumes: [{name: usr, hostPath: {path: /usr}}]
"#;

/// A local cluster in the story's folder; its machines go with it.
struct Cluster<'a> {
    home: &'a Path,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let _ = self.machinectl(&["cluster", "destroy", "ha"]);
    }
}

impl Cluster<'_> {
    fn machinectl(&self, args: &[&str]) -> anyhow::Result<String> {
        machinectl(self.home, args, LONG)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.home.join("machinectl/clusters/ha/kubeconfig")
    }

    /// Asks the API server of this machine, whoever else is there.
    fn kubectl(&self, at: &str, args: &[&str]) -> anyhow::Result<String> {
        let list = self.machinectl(&["cluster", "list", "-o", "json"])?;
        let list: serde_json::Value = serde_json::from_str(&list)?;
        let machines = list[0]["machines"].as_array().context("no machines")?;
        let machine = machines.iter().find(|m| m["name"] == at);
        let address = machine.and_then(|m| m["kubernetesApi"].as_str());
        let server = format!("https://{}", address.context("no such machine")?);
        kubectl(
            &self.kubeconfig(),
            &[&["--server", &server], args].concat(),
            900,
        )
    }

    /// One command makes it; the second machine's power goes as soon as the others count with it.
    fn create(&self, image: &Image) -> anyhow::Result<()> {
        let image = image.folder().display().to_string();
        let create = [
            "cluster",
            "create",
            "ha",
            "--image",
            &image,
            "--control-planes",
            "3",
            "--workers",
            "1",
        ];
        std::thread::scope(|scope| {
            let created = scope.spawn(|| self.machinectl(&create));
            until(3600, "cp2 to be a member of etcd", || {
                let members = self.members("cp1");
                let joins = members.map(|list| list.lines().any(|line| line.contains(CP2)));
                Ok(created.is_finished() || joins?)
            })?;
            ensure!(!created.is_finished(), "created, and cp2 never joined");
            self.machinectl(&["cluster", "stop", "ha", "cp2"])?;
            self.machinectl(&["cluster", "start", "ha", "cp2"])?;
            let created = created
                .join()
                .map_err(|_| anyhow::anyhow!("create panicked"))?;
            created.map(drop)
        })
    }

    fn members(&self, at: &str) -> anyhow::Result<String> {
        self.machinectl(&["etcd", "members", "-n", at])
    }

    /// Who has a vote, sorted.
    fn voters(&self, at: &str) -> anyhow::Result<Vec<String>> {
        let members = self.members(at)?;
        let rows = members
            .lines()
            .map(|line| line.split_whitespace().collect());
        let voters = rows.filter(|row: &Vec<_>| row.get(2) == Some(&"yes"));
        let mut voters: Vec<_> = voters.map(|row| row[0].to_owned()).collect();
        voters.sort();
        Ok(voters)
    }

    /// How the stateful pod is told from one made later.
    fn keeps(&self, at: &str) -> anyhow::Result<String> {
        let columns = "jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}";
        self.kubectl(at, &["get", "pod", "keeps-0", "-o", columns])
    }

    /// How many requests of the pod on the worker were answered, and how many were not.
    fn requests(&self, at: &str) -> anyhow::Result<(u64, u64)> {
        let said = self.kubectl(at, &["logs", "asks", "--tail=200"])?;
        let last = said
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("asked "));
        let counts = last
            .with_context(|| format!("no count: {said}"))?
            .split_once(' ');
        let (good, failed) = counts.context("one count")?;
        Ok((good.parse()?, failed.parse()?))
    }

    /// Whose keepalived says that it holds the virtual IP.
    fn holder(&self, among: &[&'static str]) -> anyhow::Result<Option<&'static str>> {
        for machine in among {
            let log = self.machinectl(&["logs", "keepalived.service", "-n", machine])?;
            let entered = log.lines().rev().find(|line| line.contains("Entering "));
            if entered.is_some_and(|line| line.contains("MASTER")) {
                return Ok(Some(machine));
            }
        }
        Ok(None)
    }

    /// Its power goes: another holds the address, the worker's node is kept alive, and a machine of the
    /// same name on an empty disk takes the lost one's place. Returns one that was there all the time.
    fn a_holder_is_lost(&self) -> anyhow::Result<&'static str> {
        let lost = self.holder(&CONTROL_PLANES)?.context("nobody holds it")?;
        let rest: Vec<_> = CONTROL_PLANES.into_iter().filter(|m| *m != lost).collect();
        let before = self.members(rest[0])?;
        self.machinectl(&["cluster", "stop", "ha", lost])?;
        until(600, "another machine to hold the virtual IP", || {
            Ok(self.holder(&rest)?.is_some())
        })?;
        let lease = [
            "get",
            "lease",
            "w1",
            "-n",
            "kube-node-lease",
            "-o",
            "jsonpath={.spec.renewTime}",
        ];
        let mut renewed = None;
        until(600, "the worker to renew its lease", || {
            let now = self.kubectl(rest[0], &lease)?;
            Ok(renewed.get_or_insert_with(|| now.clone()) != &now)
        })?;
        self.machinectl(&["cluster", "start", "ha", lost, "--wipe"])?;
        ensure!(self.voters(rest[0])? == CONTROL_PLANES, "not three voters");
        let id = |members: &str| {
            let row = members.lines().find(|line| line.starts_with(lost));
            row.and_then(|row| row.split_whitespace().nth(1))
                .map(str::to_owned)
        };
        let after = self.members(rest[0])?;
        ensure!(
            id(&before) != id(&after),
            "{lost} is the same member: {after}"
        );
        Ok(rest[0])
    }

    /// Two of three are gone for good.
    fn the_quorum_is_lost(&self) -> anyhow::Result<()> {
        for machine in ["cp2", "cp3"] {
            self.machinectl(&["cluster", "stop", "ha", machine])?;
        }
        self.machinectl(&["etcd", "recover", "--from-data", "-n", "cp1"])?;
        self.machinectl(&["status", "--wait", "-n", "cp1", "--timeout", "1h"])?;
        ensure!(self.voters("cp1")? == ["cp1"], "others are members still");
        for machine in ["cp2", "cp3"] {
            self.machinectl(&["cluster", "start", "ha", machine, "--wipe"])?;
        }
        ensure!(self.voters("cp1")? == CONTROL_PLANES, "not three voters");
        Ok(())
    }
}
