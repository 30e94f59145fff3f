//! Static pods as processes of the node: their one container's command, in the node's network and
//! with the node's paths, as host networking and host paths have it. They outlive kubelet, as
//! containers do, and are started again as kubelet would: at once, then with a growing pause.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const LOGS: &str = "/var/log/pods";

/// Where the image has Kubernetes' programs, and where a node of this kind has them.
const PROGRAMS: (&str, &str) = ("/usr/lib/kubernetes/bin/", "/opt/kubernetes/");

/// kubelet's pauses before a restart: doubled each time, from the second on.
const PAUSE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

/// How long one may take to end by itself, where its manifest says nothing else.
const GRACE: u64 = 30;

/// Those that run, by their manifest's path.
#[derive(Clone, Default)]
pub(crate) struct Pods(Arc<Mutex<BTreeMap<String, Running>>>);

struct Running {
    manifest: String,
    name: String,
    pid: Arc<Mutex<Option<Pid>>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Pods {
    /// One step towards what the manifests say. A changed one ends first and is started by a later step.
    pub(crate) fn agree(&self, wanted: &BTreeMap<String, String>) {
        let mut running = self.lock();
        running.retain(|_, pod| !pod.task.is_finished());
        for (path, pod) in running.iter() {
            if wanted.get(path) != Some(&pod.manifest) && !*pod.stop.borrow() {
                println!("node: stops pod {}", pod.name);
                pod.stop.send_replace(true);
            }
        }
        for (path, manifest) in wanted {
            if running.contains_key(path) {
                continue;
            }
            match Pod::read(manifest) {
                Ok(pod) => {
                    println!("node: starts pod {}", pod.name);
                    let (stop, told) = watch::channel(false);
                    let (pid, name) = (Arc::default(), pod.name.clone());
                    let task = tokio::spawn(pod.run(Arc::clone(&pid), told));
                    let manifest = manifest.clone();
                    let pod = Running {
                        manifest,
                        name,
                        pid,
                        stop,
                        task,
                    };
                    running.insert(path.clone(), pod);
                }
                Err(error) => println!("node: cannot run {path}: {error:#}"),
            }
        }
    }

    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        for pod in self.lock().values().filter(|pod| pod.name == name) {
            if let Some(pid) = *locked(&pod.pid) {
                // One that has just ended is as the sender wants it.
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// All at once, each within its grace period.
    pub(crate) async fn stop_all(&self) {
        let all = std::mem::take(&mut *self.lock());
        for pod in all.values() {
            pod.stop.send_replace(true);
        }
        for pod in all.into_values() {
            let _ = pod.task.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        locked(&self.0)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Pod {
    name: String,
    command: Vec<String>,
    folders: Vec<String>,
    logs: PathBuf,
    grace: Duration,
}

impl Pod {
    fn read(manifest: &str) -> anyhow::Result<Self> {
        let pod: Value = serde_saphyr::from_str(manifest)?;
        let text = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let host_network = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
        ensure!(host_network, "only pods of the host's network run here");
        let words = pod.pointer("/spec/containers/0/command");
        let words = words.and_then(Value::as_array).context("no command")?;
        let words = words.iter().filter_map(Value::as_str);
        let command = words.map(|word| word.replacen(PROGRAMS.0, PROGRAMS.1, 1));
        let mut folders = Vec::new();
        let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
        for volume in volumes.into_iter().flatten() {
            let at = |at: &str| volume.pointer(at).and_then(Value::as_str);
            let path = at("/hostPath/path").context("only host paths are there")?;
            match at("/hostPath/type") {
                Some("DirectoryOrCreate") => folders.push(path.to_owned()),
                _ => ensure!(Path::new(path).exists(), "{path} is missing"),
            }
        }
        let name = text("/metadata/name").to_owned();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
        let (host, uid) = (host.trim(), text("/metadata/uid"));
        let folder = format!("kube-system_{name}-{host}_{uid}");
        let grace = pod.pointer("/spec/terminationGracePeriodSeconds");
        let grace = grace.and_then(Value::as_u64).unwrap_or(GRACE);
        Ok(Self {
            command: command.collect(),
            folders,
            logs: Path::new(LOGS).join(folder).join(&name),
            grace: Duration::from_secs(grace),
            name,
        })
    }

    async fn run(self, pid: Arc<Mutex<Option<Pid>>>, mut stop: watch::Receiver<bool>) {
        let (mut pause, mut restarts) = (Duration::ZERO, 0_u32);
        loop {
            let begun = Instant::now();
            match self.once(restarts, &pid, &mut stop).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => println!("node: cannot run pod {}: {error:#}", self.name),
            }
            if begun.elapsed() > 2 * LONGEST {
                pause = Duration::ZERO;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            pause = (2 * pause).clamp(PAUSE, LONGEST);
            restarts += 1;
        }
    }

    // Returns whether it was told to stop.
    async fn once(
        &self,
        restarts: u32,
        pid: &Mutex<Option<Pid>>,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<bool> {
        for folder in &self.folders {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::create_dir_all(&self.logs)?;
        let [program, arguments @ ..] = self.command.as_slice() else {
            anyhow::bail!("an empty command");
        };
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            // Manifests of kubeadm's name programs of an image.
            .env("PATH", "/opt/kubernetes:/usr/sbin:/usr/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {program}"))?;
        *locked(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let log = self.logs.join(format!("{restarts}.log"));
        let log = File::options().create(true).append(true).open(log)?;
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(keep(out, "stdout", log.try_clone()?));
            tokio::spawn(keep(err, "stderr", log));
        }
        let told = tokio::select! {
            ended = child.wait() => {
                println!("node: pod {} ended: {}", self.name, ended?);
                false
            }
            _ = stop.wait_for(|stop| *stop) => true,
        };
        if told {
            if let Some(pid) = *locked(pid) {
                let _ = kill_process(pid, Signal::TERM);
            }
            if tokio::time::timeout(self.grace, child.wait())
                .await
                .is_err()
            {
                println!("node: pod {} is killed", self.name);
                child.kill().await?;
            }
        }
        *locked(pid) = None;
        Ok(told)
    }
}

/// As the container runtime writes them: time, stream, whole or part, text.
async fn keep(stream: impl AsyncRead + Unpin, name: &str, mut log: File) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let _ = writeln!(log, "{} {name} F {line}", jiff::Timestamp::now());
    }
}
