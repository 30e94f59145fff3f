//! The peer of joining: real kubeadm makes a cluster of three on machines of the same kind, one after
//! the other as its guide says. The same double runs its static pods; the kubelet that asks for a node's
//! certificate is a real one, which has no container runtime and is ended when it has it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use qemu_tests::netns::{Bare, ENDPOINT, Net, Node};
use qemu_tests::{Deadline, put, run_quietly};

use crate::effort::{Begun, Effort};
use crate::join::ALL;
use crate::settings::Settings;

const TOKEN: &str = "abcdef.0123456789abcdef";
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const RUNTIME: &str = "/run/containerd/containerd.sock";

/// What kubeadm asks of systemd, and what a kubelet does beyond running pods: it gets itself a certificate,
/// and writes the pod that kubeadm reads etcd's address from.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$1 $2" in "start kubelet" | "restart kubelet") ;; *) exit 0 ;; esac
(
    if [ -e /etc/kubernetes/bootstrap-kubelet.conf ]; then
        . /var/lib/kubelet/kubeadm-flags.env
        ask() {
            kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
                --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \
                $KUBELET_KUBEADM_ARGS &
        }
        ask
        until [ -e /var/lib/kubelet/pki/kubelet-client-current.pem ]; do
            sleep 0.1
            kill -0 $! || ask
        done
        kill $!
    fi
    until [ -e /etc/kubernetes/manifests/etcd.yaml ]; do sleep 0.1; done
    until kubectl --kubeconfig=/etc/kubernetes/admin.conf create -f /stand-in/etcd.yaml; do sleep 0.5; done
) >>/var/log/kubelet.log 2>&1 </dev/null &
exec busctl --quiet --address=unix:path=/run/dbus/system_bus_socket call org.freedesktop.systemd1 \
    /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartUnit ss kubelet.service replace
"#;

/// All images are there.
const CRICTL: &str = "#!/bin/sh\nexit 0\n";

/// From the start of `kubeadm init` until the last join has ended and all are Ready.
pub fn round(settings: &Settings) -> anyhow::Result<Effort> {
    let bare = Bare::new("bench-kubeadm", &settings.double, &ALL)?;
    // For these the kubelets wait while they ask for certificates.
    let mut runtimes = Vec::new();
    for node in &bare.nodes {
        runtimes.push(prepare(node)?);
    }
    let begun = Begun::now()?;
    for (index, node) in bare.nodes.iter().enumerate() {
        let kubeadm = match index {
            0 => {
                "init --config /stand-in/kubeadm.yaml --upload-certs \
                  --skip-phases=preflight,addon/coredns"
            }
            _ => "join --config /stand-in/kubeadm.yaml --ignore-preflight-errors=all",
        };
        let words = "env -i PATH=/stand-in:/opt/kubernetes:/usr/sbin:/usr/bin HOME=/tmp kubeadm";
        let words: Vec<_> = words.split(' ').chain(kubeadm.split_whitespace()).collect();
        let ran = bare.run(node, &words, 300)?;
        ensure!(
            ran.code == 0,
            "kubeadm on {} failed: {}",
            node.name,
            ran.stderr
        );
        let took = begun.until_now()?.seconds;
        eprintln!(
            "bench: kubeadm is done with {} after {took:.1} s",
            node.name
        );
    }
    until_ready(&bare)?;
    let took = begun.until_now()?;
    bare.done();
    Ok(took)
}

fn prepare(node: &Node) -> anyhow::Result<UnixListener> {
    let folder = |path: &str| {
        let at = node.path(path)?;
        std::fs::create_dir_all(&at)?;
        Ok::<_, anyhow::Error>(at)
    };
    let stand_in = folder("/stand-in")?;
    for (name, text) in [("systemctl", SYSTEMCTL), ("crictl", CRICTL)] {
        put(&stand_in.join(name), text)?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(stand_in.join(name), mode)?;
    }
    let first = node.name == ALL[0];
    put(&stand_in.join("kubeadm.yaml"), &config(node, first))?;
    put(&stand_in.join("etcd.yaml"), &mirror(node))?;
    // The pod network, which ours brings inside its time.
    put(&folder("/etc/cni/net.d")?.join("10-bench.conflist"), "{}\n")?;
    folder("/run/containerd")?;
    Ok(UnixListener::bind(node.path(RUNTIME)?)?)
}

fn config(node: &Node, first: bool) -> String {
    let Node { name, address, .. } = node;
    let registration = format!(
        "nodeRegistration:
  name: {name}
  criSocket: {RUNTIME}
  kubeletExtraArgs: {{node-ip: {address}, hostname-override: {name}}}
"
    );
    if first {
        return format!(
            "apiVersion: kubeadm.k8s.io/v1beta2
kind: InitConfiguration
bootstrapTokens: [{{token: {TOKEN}}}]
certificateKey: {KEY}
localAPIEndpoint: {{advertiseAddress: {address}, bindPort: 6443}}
{registration}---
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
kubernetesVersion: v1.20.2
controlPlaneEndpoint: {ENDPOINT}:6443
networking: {{podSubnet: 10.244.0.0/16}}
controllerManager: {{extraArgs: {{flex-volume-plugin-dir: /var/lib/flex}}}}
"
        );
    }
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta2
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: {ENDPOINT}:6443
    token: {TOKEN}
    unsafeSkipCAVerification: true
controlPlane:
  certificateKey: {KEY}
  localAPIEndpoint: {{advertiseAddress: {address}, bindPort: 6443}}
{registration}"
    )
}

fn mirror(node: &Node) -> String {
    let Node { name, address, .. } = node;
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: etcd-{name}
  namespace: kube-system
  labels: {{component: etcd, tier: control-plane}}
  annotations:
    kubernetes.io/config.mirror: bench
    kubeadm.kubernetes.io/etcd.advertise-client-urls: https://{address}:2379
spec:
  nodeName: {name}
  hostNetwork: true
  containers: [{{name: etcd, image: etcd}}]
"
    )
}

fn until_ready(bare: &Bare) -> anyhow::Result<()> {
    let deadline = Deadline::new(180, "kubeadm's nodes to be Ready");
    let kubeconfig = bare.nodes[0].path("/etc/kubernetes/admin.conf")?;
    let [nsenter, seat] = Net::seat();
    let words = [
        &seat,
        "kubectl",
        "get",
        "nodes",
        "-o",
        "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}",
    ];
    let env = [("KUBECONFIG", kubeconfig.as_path())];
    loop {
        let ran = run_quietly(Path::new(&nsenter), &words, &env, &deadline)?;
        let ready = ran.stdout.split_whitespace().filter(|word| *word == "True");
        if ready.count() == ALL.len() {
            return Ok(());
        }
        deadline.left()?;
        std::thread::sleep(Duration::from_millis(250));
    }
}
