//! etcd and an API server as a control plane of ours runs them: our files, our
//! certificates, and the arguments of our manifests. Only places are others:
//! paths below a temporary folder, an address of its own on loopback, and free
//! ports where a port of 127.0.0.1 would be shared with the machine.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use machine_config::Bundle;
use machine_plan::desired::Desired;
use machine_plan::facts::HostFacts;
use machine_plan::files::RenderedFile;
use machine_plan::observed::Probe;
use machine_plan::render::{Place, TOKEN_LIFETIME, cluster_admin_kubeconfig};
use serde_json::Value;

use super::external_etcd::ExternalEtcd;
use super::{Process, Scratch};
use crate::api::fixture;
use crate::node::kube::{Access, Kube};
use crate::node::{certs, files};

/// For a start on a busy machine without much of it to itself.
const START: Duration = Duration::from_secs(180);

/// What runs.
pub(crate) struct ControlPlane {
    pub(crate) kube: Kube,
    pub(crate) access: Access,
    pub(crate) desired: Desired,
    /// What it was made from.
    pub(crate) bundle: Bundle,
    /// The same cluster's documents for a worker.
    pub(crate) worker: Desired,
    pub(crate) address: IpAddr,
    pub(crate) api_server: Process,
    _etcd: Process,
    scratch: Scratch,
}

impl ControlPlane {
    /// Starts both and waits until the API server is ready.
    pub(crate) async fn start() -> Self {
        Self::start_on(None).await
    }

    /// The same, where etcd may be somebody else's.
    pub(crate) async fn start_on(external: Option<ExternalEtcd>) -> Self {
        let scratch = Scratch::new();
        let root = scratch.path();
        let address = address();
        let [control_plane, worker] = documents(address, external.as_ref());
        let desired = desired(&control_plane, address);
        let worker = self::desired(&worker, address);
        let kube = Kube::default();
        let access = Access::at(
            below(
                root,
                &cluster_admin_kubeconfig(*control_plane.config.kubernetes_version()),
            ),
            Some((address, machine_plan::render::API_PORT).into()),
        );
        let unreadable = kube.ready(&access).await;
        assert!(matches!(&unreadable, Probe::Unreadable(why) if why.contains("admin.conf")));

        place(root, &desired, &control_plane);
        assert_eq!(
            kube.ready(&access).await,
            Probe::Absent,
            "nobody listens yet"
        );

        let ports = Ports::free();
        let mut manifests = desired.etcd.iter().chain(&desired.api_server);
        let mut command = |name: &str| {
            let path = format!("/etc/kubernetes/manifests/{name}.yaml");
            let manifest = manifests.find(|file| file.path == path).unwrap();
            arguments(manifest)
                .into_iter()
                .map(|argument| ports.moved(&below(root, &argument)))
                .collect::<Vec<_>>()
        };
        let etcd = match external {
            Some(external) => external.process,
            None => Process::start(
                Command::new(etcd_program()).args(command("etcd")),
                root.join("etcd.log"),
            ),
        };
        let api_server = Process::start(
            Command::new(kubernetes_program("kube-apiserver"))
                .args(command("kube-apiserver"))
                // Else it would take this port on every address of the machine,
                // and would not tell the cluster of one on loopback.
                .args([
                    format!("--bind-address={address}").as_str(),
                    "--advertise-address=192.0.2.10",
                ]),
            root.join("kube-apiserver.log"),
        );
        let mut running = Self {
            kube,
            access,
            desired,
            bundle: control_plane,
            worker,
            address,
            api_server,
            _etcd: etcd,
            scratch,
        };
        running.until_ready().await;
        running
    }

    /// The controller manager, as our manifest starts it. Its port is one that nobody else has.
    pub(crate) fn controller_manager(&self) -> Process {
        let path = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
        let manifest = self
            .desired
            .controllers
            .iter()
            .find(|file| file.path == path);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let arguments = arguments(manifest.unwrap());
        Process::start(
            Command::new(kubernetes_program("kube-controller-manager"))
                .args(arguments.iter().map(|argument| self.path(argument)))
                .arg(format!("--secure-port={port}")),
            self.scratch.path().join("kube-controller-manager.log"),
        )
    }

    async fn until_ready(&mut self) {
        let begun = Instant::now();
        loop {
            let seen = self.kube.ready(&self.access).await;
            if seen == Probe::Seen(()) {
                return;
            }
            self._etcd.must_run();
            self.api_server.must_run();
            assert!(
                begun.elapsed() < START,
                "the API server is not ready: {seen:?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Where a path of a node is here.
    pub(crate) fn path(&self, path: &str) -> String {
        below(self.scratch.path(), path)
    }

    /// Writes a file of a node where it is here.
    pub(crate) fn write(&self, file: &RenderedFile) {
        write(self.scratch.path(), file);
    }

    /// Stock kubectl, as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> Output {
        self.with_config(&self.path("/etc/kubernetes/admin.conf"), arguments, input)
    }

    /// Stock kubectl, as this kubeconfig says.
    pub(crate) fn with_config(&self, path: &str, arguments: &[&str], input: &str) -> Output {
        // In place of the load balancer that every node has.
        let server = format!("--server=https://{}:6443", self.address);
        let common = ["--kubeconfig", path, &server];
        kubectl(&[&common, arguments].concat(), input)
    }

    /// Stock kubectl, with nothing but the arguments.
    pub(crate) fn stranger(&self, arguments: &[&str], input: &str) -> Output {
        let server = format!("--server=https://{}:6443", self.address);
        let authority = format!(
            "--certificate-authority={}",
            self.path("/etc/kubernetes/pki/ca.crt")
        );
        let common = ["--kubeconfig=/dev/null", &server, &authority];
        kubectl(&[&common, arguments].concat(), input)
    }
}

/// Runs it and waits, at most as long as kubectl itself does.
fn kubectl(arguments: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut child = Command::new("kubectl")
        .arg("--request-timeout=60s")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is missing: .ci/setup installs it");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// What it printed, of a command that must have worked.
pub(crate) fn printed(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

// Its own for each test: the whole of 127.0.0.0/8 is this machine.
fn address() -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 77, high, low).into()
}

fn documents(address: IpAddr, external: Option<&ExternalEtcd>) -> [Bundle; 2] {
    let external = external.map(|etcd| (etcd.url(), etcd.client.clone()));
    let (_, nodes) = fixture::documents_on(&format!("{address}:6443"), external);
    nodes.map(|node| machine_config::read(node.stream().expose().as_bytes()).unwrap())
}

fn desired(bundle: &Bundle, address: IpAddr) -> Desired {
    let facts = HostFacts {
        resolv_conf_stub: false,
        ..HostFacts::at(address)
    };
    let secrets = bundle.secrets.as_ref().unwrap();
    let expires = SystemTime::now() + TOKEN_LIFETIME;
    Desired::new(&bundle.config, secrets, &facts, Some(expires), None)
}

/// Writes and issues what a node would, below a folder.
pub(crate) fn place(root: &Path, desired: &Desired, bundle: &Bundle) {
    for file in &desired.authorities {
        write(root, file);
    }
    for leaf in &desired.leaves {
        let mut leaf = leaf.clone();
        match &mut leaf.place {
            Place::Pair { certificate, key } => {
                (*certificate, *key) = (below(root, certificate), below(root, key));
            }
            Place::Kubeconfig { path, .. } => *path = below(root, path),
        }
        certs::issue(&leaf, bundle, SystemTime::now()).unwrap();
    }
}

fn write(root: &Path, file: &RenderedFile) {
    let path = below(root, &file.path);
    files::write(&RenderedFile {
        path,
        ..file.clone()
    })
    .unwrap();
}

/// Where a node's paths in a text are, below a folder.
pub(crate) fn below(root: &Path, text: &str) -> String {
    let root = root.display();
    text.replace("/etc/kubernetes/", &format!("{root}/etc/kubernetes/"))
        .replace("/var/lib/etcd", &format!("{root}/var/lib/etcd"))
        .replace("/var/lib/kubelet/", &format!("{root}/var/lib/kubelet/"))
}

/// A static pod's arguments.
pub(crate) fn arguments(manifest: &RenderedFile) -> Vec<String> {
    let pod: Value = serde_saphyr::from_str(manifest.content.expose()).unwrap();
    let command = pod.pointer("/spec/containers/0/command").unwrap();
    let words = command.as_array().unwrap().iter().skip(1);
    words
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

/// Ports of 127.0.0.1 in place of etcd's own.
pub(crate) struct Ports {
    client: u16,
    metrics: u16,
}

impl Ports {
    pub(crate) fn free() -> Self {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let both = [listen(), listen()];
        Self {
            client: port(&both[0]),
            metrics: port(&both[1]),
        }
    }

    pub(crate) fn moved(&self, argument: &str) -> String {
        argument
            .replace("127.0.0.1:2379", &format!("127.0.0.1:{}", self.client))
            .replace("127.0.0.1:2381", &format!("127.0.0.1:{}", self.metrics))
    }
}

/// Of the distribution, or of the folder that `ETCD_BINARIES` names: another version.
pub(crate) fn etcd_tool(name: &str) -> PathBuf {
    let folder = std::env::var_os("ETCD_BINARIES").unwrap_or_else(|| "/usr/bin".into());
    PathBuf::from(folder).join(name)
}

pub(crate) fn etcd_program() -> PathBuf {
    let path = etcd_tool("etcd");
    assert!(
        path.exists(),
        "{} is missing: .ci/setup installs it",
        path.display()
    );
    path
}

pub(crate) fn kubernetes_program(name: &str) -> PathBuf {
    let hint = "KUBERNETES_BINARIES must name the folder that image/kubernetes.sh prints: \
                run these tests by `just adapters`";
    let path = PathBuf::from(std::env::var_os("KUBERNETES_BINARIES").expect(hint)).join(name);
    assert!(path.exists(), "{} is missing. {hint}", path.display());
    path
}
