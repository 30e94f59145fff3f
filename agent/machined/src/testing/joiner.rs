//! A machine of somebody else's that joins by stock kubeadm: a root, mounts and processes of its
//! own. It shares the network, where the API server is, and `/usr`, which it only reads.
//!
//! Stock kubeadm, kubelet and kubectl run in it. systemd is stood in for; so is what a kubelet does
//! once its container runtime answers, which is none here: it writes its node with the certificate
//! that it has got.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::control_plane::kubernetes_program;
use super::{Process, Scratch, within};

/// For a machine that is busy. kubeadm itself gives up after five minutes.
const LIMIT: Duration = Duration::from_secs(300);

/// Where a container runtime listens, in any machine's root.
const RUNTIME: &str = "run/containerd/containerd.sock";

/// Everything is mounted where nobody else sees it, and goes with the last process.
const INSIDE: &str = r#"
set -e
mount --bind /usr "$ROOT/usr"
mount -o remount,bind,ro "$ROOT/usr"
mount --bind "$BINARIES" "$ROOT/opt"
mount -o remount,bind,ro "$ROOT/opt"
mount --bind /dev/null "$ROOT/dev/null"
mount -t proc proc "$ROOT/proc"
mount --rbind /sys "$ROOT/sys"
# A kubelet looks for its control groups; nothing of this machine's is its to change.
cut -d " " -f 2 /proc/self/mounts | grep "^$ROOT/sys" | while read -r mounted; do
    mount -o remount,bind,ro "$mounted"
done
exec chroot "$ROOT" /bin/sh -c "$COMMAND"
"#;

/// What kubeadm asks of systemd. The kubelet's flags are those of kubeadm's own unit.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >>/systemctl.log
case "$1 $2" in "start kubelet" | "restart kubelet") ;; *) exit 0 ;; esac
. /var/lib/kubelet/kubeadm-flags.env
while :; do
    kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
        --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \
        $KUBELET_KUBEADM_ARGS
    sleep 1
done >>/kubelet.log 2>&1 </dev/null &
until kubectl --kubeconfig=/etc/kubernetes/kubelet.conf create -f /node.yaml; do
    sleep 1
done >>/node.log 2>&1 </dev/null &
"#;

/// What runs, and where.
pub(crate) struct Joiner {
    name: String,
    /// A container runtime that never answers: for it the kubelet waits, while it asks for its
    /// certificate. Without one it ends at once.
    _runtime: UnixListener,
    scratch: Scratch,
}

impl Joiner {
    pub(crate) fn new(name: &str) -> Self {
        let scratch = Scratch::new();
        let root = scratch.path();
        for folder in [
            "usr",
            "opt",
            "dev",
            "proc",
            "sys",
            "run/containerd",
            "tmp",
            "stand-in",
            "etc",
            "var/lib",
        ] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for link in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{link}"), root.join(link)).unwrap();
        }
        put(&root.join("dev/null"), "");
        // kubeadm waits for the label that kubelet gives its node.
        let node = format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  labels:\n    \
             kubernetes.io/hostname: {name}\n"
        );
        put(&root.join("node.yaml"), &node);
        let systemctl = root.join("stand-in/systemctl");
        put(&systemctl, SYSTEMCTL);
        std::fs::set_permissions(&systemctl, PermissionsExt::from_mode(0o755)).unwrap();
        put(&root.join("etc/hosts"), "127.0.0.1 localhost\n");
        Self {
            name: name.to_owned(),
            _runtime: UnixListener::bind(root.join(RUNTIME)).unwrap(),
            scratch,
        }
    }

    /// Where a path of it is here.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path.trim_start_matches('/'))
    }

    /// A file of it; empty if there is none.
    pub(crate) fn read(&self, path: &str) -> String {
        let at = self.path(path);
        // A link leads to a path of its own.
        let at = match std::fs::read_link(&at) {
            Ok(target) => self.path(&target.display().to_string()),
            Err(_) => at,
        };
        std::fs::read_to_string(at).unwrap_or_default()
    }

    /// Joins by a command such as `kubeadm token create --print-join-command` prints.
    pub(crate) async fn join(&self, command: &str) -> (ExitStatus, String) {
        // This is no whole machine, which is all that the checks before a join would find.
        self.run(&format!(
            "{command} --node-name {} --cri-socket /{RUNTIME} --ignore-preflight-errors all -v 1",
            self.name
        ))
        .await
    }

    /// Joins by a config file, in which more can be said.
    pub(crate) async fn join_by(&self, config: &str) -> (ExitStatus, String) {
        put(&self.path("join.yaml"), config);
        self.run("kubeadm join --config /join.yaml --ignore-preflight-errors all -v 1")
            .await
    }

    async fn run(&self, command: &str) -> (ExitStatus, String) {
        let binaries = kubernetes_program("kubeadm");
        let mut process = Process::start(
            Command::new("unshare")
                .args([
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "sh",
                    "-c",
                    INSIDE,
                ])
                .env_clear()
                .env("PATH", "/stand-in:/opt:/usr/sbin:/usr/bin:/sbin:/bin")
                .env("ROOT", self.scratch.path())
                .env("BINARIES", binaries.parent().unwrap_or(Path::new("/")))
                .env("COMMAND", command),
            self.path("kubeadm.log"),
        );
        let ended = async {
            loop {
                match process.result() {
                    Some(status) => break status,
                    None => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        let status = within(LIMIT, "kubeadm", ended).await;
        (status, process.said())
    }
}

fn put(path: &Path, text: &str) {
    crate::durable::replace(path, text.as_bytes(), 0o644).unwrap();
}
