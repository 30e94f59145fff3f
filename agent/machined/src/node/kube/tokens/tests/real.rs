//! A stock kubeadm and kubelet join a cluster that we made, by a token that we made. See
//! `just adapters`.

use std::time::Duration;

use machine_pki::random_token;
use machine_plan::render::{BootstrapToken, join_command};
use serde_json::Value;

use crate::api::ca_hashes;
use crate::node::kube::Client;
use crate::node::kube::tokens::{self, SystemTime};
use crate::testing::control_plane::{ControlPlane, printed};
use crate::testing::joiner::Joiner;
use crate::testing::{Process, within};

const NODE: &str = "w9";
/// For the controller manager to do its part.
const SOON: Duration = Duration::from_secs(120);

struct Cluster {
    running: ControlPlane,
    client: Client,
    endpoint: String,
    hashes: Vec<String>,
    _controller_manager: Process,
}

impl Cluster {
    async fn start() -> Self {
        let running = ControlPlane::start().await;
        let objects = &running.desired.objects;
        running.kube.apply(&running.access, objects).await.unwrap();
        Self {
            _controller_manager: running.controller_manager(),
            client: running.kube.client(&running.access).unwrap(),
            endpoint: running.bundle.config.control_plane_endpoint().to_string(),
            hashes: ca_hashes(&running.bundle).unwrap(),
            running,
        }
    }

    async fn token(&self, lifetime: Duration) -> BootstrapToken {
        let (token, expires) = (random_token().unwrap(), SystemTime::now() + lifetime);
        let about = "for a test".to_owned();
        let token = BootstrapToken::new(token, Some(expires), about, &[], Vec::new()).unwrap();
        let made = tokens::create(&self.client, token.id(), &token.object()).await;
        made.unwrap();
        token
    }

    async fn signature(&self, id: &str) -> bool {
        let path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
        let info = self.client.get::<Value>(path).await.unwrap();
        info["data"].get(format!("jws-kubeconfig-{id}")).is_some()
    }

    async fn until_signed(&self, id: &str, signed: bool) {
        let seen = async {
            while self.signature(id).await != signed {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let what = format!("a signature by {id} is there: {signed}");
        within(SOON, &what, seen).await;
    }

    fn seen(&self, what: &[&str]) -> Value {
        let out = printed(
            self.running
                .kubectl(&[&["get", "-o", "json"], what].concat(), ""),
        );
        serde_json::from_str(&out).unwrap()
    }

    /// With so little patience that a refusal is soon heard of.
    fn impatient(&self, token: &BootstrapToken) -> String {
        let (endpoint, hash, token) = (&self.endpoint, &self.hashes[0], token.token().expose());
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta2\nkind: JoinConfiguration\ndiscovery:\n  \
             timeout: 10s\n  bootstrapToken:\n    apiServerEndpoint: {endpoint}\n    \
             token: {token}\n    caCertHashes: [\"{hash}\"]\nnodeRegistration:\n  name: {NODE}\n  \
             criSocket: /run/containerd/containerd.sock\n"
        )
    }
}

#[tokio::test]
async fn a_stock_kubeadm_joins_by_the_printed_command_and_by_no_other() {
    let cluster = Cluster::start().await;
    let day = Duration::from_secs(24 * 3600);
    let token = cluster.token(day).await;
    cluster.until_signed(token.id(), true).await;
    // Our own hand on the same object leaves the signature where it is.
    let (running, objects) = (&cluster.running, &cluster.running.desired.objects);
    running.kube.apply(&running.access, objects).await.unwrap();
    assert!(cluster.signature(token.id()).await);
    let joiner = Joiner::new(NODE);

    // Pinned to another authority's key.
    let other = format!("sha256:{}", "0f".repeat(32));
    let command = join_command(&cluster.endpoint, token.token(), &[other]);
    let (status, said) = joiner.join(command.expose()).await;
    assert!(
        !status.success() && said.contains("none of the public keys"),
        "{said}"
    );
    assert!(!joiner.path("/etc/kubernetes").exists(), "{said}");

    // By the id of the token and another secret.
    let (id, secret) = token.token().expose().split_once('.').unwrap();
    let backwards: String = secret.chars().rev().collect();
    let wrong = machine_pki::Secret::new(format!("{id}.{backwards}"));
    let command = join_command(&cluster.endpoint, &wrong, &cluster.hashes);
    let (status, said) = joiner.join(command.expose()).await;
    assert!(
        !status.success() && said.contains("failed to verify JWS"),
        "{said}"
    );

    let command = join_command(&cluster.endpoint, token.token(), &cluster.hashes);
    let (status, said) = joiner.join(command.expose()).await;
    assert!(status.success(), "{said}");
    assert!(said.contains("This node has joined the cluster"), "{said}");
    joined(&cluster, &joiner, &token);

    // A node that has joined outlives its token, by which nobody else joins any more.
    tokens::delete(&cluster.client, token.id()).await.unwrap();
    cluster.until_signed(token.id(), false).await;
    let late = Joiner::new("w10");
    let (status, said) = late.join_by(&cluster.impatient(&token)).await;
    assert!(
        !status.success() && said.contains("could not find a JWS signature"),
        "{said}"
    );

    let short = cluster.token(Duration::from_secs(2)).await;
    let gone = async {
        while tokens::list(&cluster.client)
            .await
            .unwrap()
            .iter()
            .any(|t| t.id == short.id())
        {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    within(SOON, "an expired token is cleaned away", gone).await;
    cluster.until_signed(short.id(), false).await;
    let (status, said) = late.join_by(&cluster.impatient(&short)).await;
    assert!(
        !status.success() && said.contains("could not find a JWS signature"),
        "{said}"
    );
    cluster.seen(&["node", NODE]);
}

fn joined(cluster: &Cluster, joiner: &Joiner, token: &BootstrapToken) {
    let secrets = cluster.running.bundle.secrets.as_ref().unwrap();
    let authority = secrets.ca(machine_pki::AuthorityKind::Kubernetes).unwrap();
    assert_eq!(
        joiner.read("/etc/kubernetes/pki/ca.crt").trim(),
        authority.certificate.trim()
    );
    let bootstrap = joiner.path("/etc/kubernetes/bootstrap-kubelet.conf");
    assert!(!bootstrap.exists(), "the token stays on no disk");

    // The kubelet's own key, signed by the controller manager because of who asked.
    let certificate = joiner.read("/var/lib/kubelet/pki/kubelet-client-current.pem");
    let facts = machine_pki::inspect(&certificate).unwrap();
    assert_eq!(facts.common_name, format!("system:node:{NODE}"));
    assert_eq!(facts.organizations, ["system:nodes"]);
    assert!(machine_pki::issued_by(&certificate, &authority.certificate));
    let requests = cluster.seen(&["certificatesigningrequests"]);
    let asker = format!("system:bootstrap:{}", token.id());
    let mut requests = requests["items"].as_array().unwrap().iter();
    let ours = requests.find(|request| request["spec"]["username"] == asker.as_str());
    assert_eq!(ours.unwrap()["status"]["conditions"][0]["type"], "Approved");

    // What kubeadm found of the cluster, and what it wrote with the node's certificate.
    let config: Value =
        serde_saphyr::from_str(&joiner.read("/var/lib/kubelet/config.yaml")).unwrap();
    assert_eq!(config["clusterDNS"][0], "10.96.0.10");
    assert_eq!(config["cgroupDriver"], "systemd");
    assert!(config.get("resolvConf").is_none(), "{config}");
    let node = cluster.seen(&["node", NODE]);
    assert_eq!(
        node["metadata"]["annotations"]["kubeadm.alpha.kubernetes.io/cri-socket"],
        "/run/containerd/containerd.sock"
    );
}
