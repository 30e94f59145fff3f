//! An etcd that somebody else runs: with an authority of its own, which nobody of the cluster holds.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use machine_config::EtcdClient;
use machine_pki::{Authority, AuthorityKind, Issued, LeafRequest, Usage};

use super::control_plane::{etcd_program, etcd_tool};
use super::{Process, Scratch};
use crate::durable;

/// What runs.
pub(crate) struct ExternalEtcd {
    pub(crate) client: EtcdClient,
    pub(crate) process: Process,
    port: u16,
}

impl ExternalEtcd {
    /// One member, that wants a client certificate of its authority.
    pub(crate) fn start(scratch: &Scratch) -> Self {
        let authority = Authority::generate(AuthorityKind::Etcd, SystemTime::now()).unwrap();
        let server = issued(&authority, "their etcd", Usage::Server);
        let client = issued(&authority, "their client", Usage::Client);
        let root = scratch.path();
        let put = |name: &str, text: &str| {
            let path = root.join(name);
            durable::replace(&path, text.as_bytes(), 0o600).unwrap();
            path.display().to_string()
        };
        let ca = put("ca.crt", authority.certificate_pem());
        let certificate = put("server.crt", &server.certificate_pem);
        let key = put("server.key", server.key.expose());
        put("client.crt", &client.certificate_pem);
        put("client.key", client.key.expose());
        let [port, peers] = ports();
        let (url, peers) = (
            format!("https://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{peers}"),
        );
        let process = Process::start(
            Command::new(etcd_program()).args([
                "--name=theirs".to_owned(),
                format!("--data-dir={}", root.join("data").display()),
                format!("--listen-client-urls={url}"),
                format!("--advertise-client-urls={url}"),
                format!("--listen-peer-urls={peers}"),
                format!("--initial-advertise-peer-urls={peers}"),
                format!("--initial-cluster=theirs={peers}"),
                "--client-cert-auth".to_owned(),
                format!("--trusted-ca-file={ca}"),
                format!("--cert-file={certificate}"),
                format!("--key-file={key}"),
            ]),
            root.join("etcd.log"),
        );
        Self {
            client: EtcdClient {
                ca: authority.certificate_pem().to_owned(),
                certificate: client.certificate_pem,
                key: client.key,
            },
            process,
            port,
        }
    }

    /// Where it serves.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

/// Stock etcdctl, as its operator.
pub(crate) fn etcdctl(scratch: &Scratch, url: &str, arguments: &[&str]) -> Output {
    let path = |name: &str| scratch.path().join(name).display().to_string();
    Command::new(etcd_tool("etcdctl"))
        .env("ETCDCTL_API", "3")
        .args([
            format!("--endpoints={url}"),
            format!("--cacert={}", path("ca.crt")),
        ])
        .args([
            format!("--cert={}", path("client.crt")),
            format!("--key={}", path("client.key")),
        ])
        .args(arguments)
        .output()
        .unwrap()
}

fn issued(authority: &Authority, name: &str, usage: Usage) -> Issued {
    let request = LeafRequest {
        common_name: name.to_owned(),
        organizations: Vec::new(),
        usage,
        dns: BTreeSet::new(),
        ips: [Ipv4Addr::LOCALHOST.into()].into(),
        lifetime: Duration::from_secs(3600),
    };
    authority.issue(&request, SystemTime::now()).unwrap()
}

fn ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
