//! The control plane's static pods.

use std::net::{IpAddr, SocketAddr};

use machine_config::{EtcdRunAs, MachineConfig, PathType};

use super::args::{Args, last};
use super::etcd::{CLIENT_PORT, EtcdWish, etcd_endpoints, etcd_file};
use super::pod::{Component, Mounts, Probes, dialable};
use super::{API_PORT, KUBERNETES, PKI, gates, images, join};
use crate::facts::HostFacts;
use crate::files::RenderedFile;

/// Where the controller manager looks for flexvolume drivers. kubeadm's place is below `/usr`,
/// which is read-only here; the kubelet is told the same.
pub(super) const FLEXVOLUMES: &str = "/var/lib/kubelet/volumeplugins";
/// The encryption configuration of the API server, in a directory it has mounted anyway.
pub const ENCRYPTION_CONFIG: &str = "/etc/kubernetes/pki/encryption.yaml";

const CA_CERTIFICATES: &str = "/etc/ssl/certs";
/// Where controller manager and scheduler listen: IPv4 loopback, also on IPv6 nodes.
const BIND: &str = "127.0.0.1";
const CONTROLLER_MANAGER_PORT: u16 = 10257;
const SCHEDULER_PORT: u16 = 10259;

/// Those that hold a lease of their name in kube-system, and where each listens on loopback.
pub const CONTROLLERS: [(&str, u16); 2] = [
    ("kube-controller-manager", CONTROLLER_MANAGER_PORT),
    ("kube-scheduler", SCHEDULER_PORT),
];

/// The manifests of etcd, unless it is elsewhere or a unit, API server, controller manager and scheduler, in
/// the order in which they can come up. `encrypt_secrets`: the API server gets [`ENCRYPTION_CONFIG`], which must be there.
#[must_use]
pub fn static_pods(
    config: &MachineConfig,
    facts: &HostFacts,
    etcd: &EtcdWish,
    encrypt_secrets: bool,
) -> Vec<RenderedFile> {
    let member = config.has_etcd_member() && config.etcd_run_as() == EtcdRunAs::Pod;
    let member = member.then(|| etcd_file(config, facts, etcd));
    let others = [
        api_server(config, facts, encrypt_secrets),
        controller_manager(config),
        scheduler(config),
    ];
    let others = others.map(|component| component.file(config));
    member.into_iter().chain(others).collect()
}

pub(super) fn pki(name: &str) -> String {
    format!("{PKI}/{name}")
}

pub(super) fn url(scheme: &str, address: IpAddr, port: u16) -> String {
    format!("{scheme}://{}", SocketAddr::new(address, port))
}

pub(super) fn loopback_ip(facts: &HostFacts) -> IpAddr {
    match facts.node_ip {
        IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}

fn is_dual(config: &MachineConfig) -> bool {
    let subnets = || config.pod_subnets().iter().chain(config.service_subnets());
    subnets().any(|net| net.addr().is_ipv4()) && subnets().any(|net| net.addr().is_ipv6())
}

/// What dual stack takes before 1.21.
pub(super) fn needs_dual_stack_gate(config: &MachineConfig) -> bool {
    is_dual(config) && gates::DUAL_STACK_IS_ALPHA.holds(*config.kubernetes_version())
}

fn api_server(config: &MachineConfig, facts: &HostFacts, encrypt_secrets: bool) -> Component {
    let version = *config.kubernetes_version();
    let wish = config.api_server();

    let mut args = Args::new();
    args.set("advertise-address", facts.node_ip.to_string());
    args.set("allow-privileged", "true");
    let structured = gates::AUTHORIZATION_CONFIG.holds(version)
        && last(&wish.extra_args, "authorization-config").is_some();
    args.set_if(!structured, "authorization-mode", "Node,RBAC");
    args.set("client-ca-file", pki("ca.crt"));
    args.set("enable-admission-plugins", "NodeRestriction");
    args.set("enable-bootstrap-token-auth", "true");
    args.set_if(
        encrypt_secrets,
        "encryption-provider-config",
        ENCRYPTION_CONFIG,
    );
    args.set("etcd-cafile", pki("etcd/ca.crt"));
    args.set("etcd-certfile", pki("apiserver-etcd-client.crt"));
    args.set("etcd-keyfile", pki("apiserver-etcd-client.key"));
    let members = match etcd_endpoints(config) {
        Some(endpoints) => join(endpoints),
        None => url("https", loopback_ip(facts), CLIENT_PORT),
    };
    args.set("etcd-servers", members);
    args.set_if(
        needs_dual_stack_gate(config),
        "feature-gates",
        "IPv6DualStack=true",
    );
    args.set_if(
        gates::APISERVER_INSECURE_PORT.holds(version),
        "insecure-port",
        "0",
    );
    args.set(
        "kubelet-client-certificate",
        pki("apiserver-kubelet-client.crt"),
    );
    args.set("kubelet-client-key", pki("apiserver-kubelet-client.key"));
    args.set(
        "kubelet-preferred-address-types",
        "InternalIP,ExternalIP,Hostname",
    );
    args.set("proxy-client-cert-file", pki("front-proxy-client.crt"));
    args.set("proxy-client-key-file", pki("front-proxy-client.key"));
    args.set("requestheader-allowed-names", "front-proxy-client");
    args.set("requestheader-client-ca-file", pki("front-proxy-ca.crt"));
    args.set("requestheader-extra-headers-prefix", "X-Remote-Extra-");
    args.set("requestheader-group-headers", "X-Remote-Group");
    args.set("requestheader-username-headers", "X-Remote-User");
    args.set("secure-port", API_PORT.to_string());
    let issuer = format!("https://kubernetes.default.svc.{}", config.dns_domain());
    args.set("service-account-issuer", issuer);
    args.set("service-account-key-file", pki("sa.pub"));
    args.set("service-account-signing-key-file", pki("sa.key"));
    args.set("service-cluster-ip-range", join(config.service_subnets()));
    // Told to end, it is unready at once and serves on until every load balancer has seen so.
    args.set_if(config.node_load_balancer(), "shutdown-delay-duration", "5s");
    args.set("tls-cert-file", pki("apiserver.crt"));
    args.set("tls-private-key-file", pki("apiserver.key"));

    let mut mounts = Mounts::default();
    mounts.add(
        "ca-certs",
        CA_CERTIFICATES,
        true,
        PathType::DirectoryOrCreate,
    );
    mounts.add("k8s-certs", PKI, true, PathType::DirectoryOrCreate);
    mounts.extend(&wish.extra_volumes);
    let endpoint = SocketAddr::new(facts.node_ip, API_PORT).to_string();
    Component {
        name: "kube-apiserver",
        program: images::component(config.component_source(), "kube-apiserver", version),
        args: args.finish(&wish.extra_args, version),
        mounts,
        probes: Probes {
            host: Some(facts.node_ip.to_string()),
            port: API_PORT,
            scheme: "HTTPS",
            live: "/livez",
            ready: Some("/readyz"),
            startup: "/livez",
        },
        requests: vec![("cpu", "250m")],
        annotations: vec![(
            "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint",
            endpoint,
        )],
    }
}

fn controller_manager(config: &MachineConfig) -> Component {
    let version = *config.kubernetes_version();
    let wish = config.controller_manager();
    let kubeconfig = format!("{KUBERNETES}/controller-manager.conf");

    let mut args = Args::new();
    if !config.pod_subnets().is_empty() {
        args.set("allocate-node-cidrs", "true");
        args.set("cluster-cidr", join(config.pod_subnets()));
        args.set("service-cluster-ip-range", join(config.service_subnets()));
    }
    args.set("authentication-kubeconfig", &kubeconfig);
    args.set("authorization-kubeconfig", &kubeconfig);
    args.set("bind-address", BIND);
    args.set("client-ca-file", pki("ca.crt"));
    args.set("cluster-name", config.cluster_name());
    args.set("cluster-signing-cert-file", pki("ca.crt"));
    args.set("cluster-signing-key-file", pki("ca.key"));
    args.set("controllers", "*,bootstrapsigner,tokencleaner");
    args.set_if(
        needs_dual_stack_gate(config),
        "feature-gates",
        "IPv6DualStack=true",
    );
    let flexvolume = gates::FLEXVOLUME.holds(version);
    args.set_if(flexvolume, "flex-volume-plugin-dir", FLEXVOLUMES);
    args.set("kubeconfig", &kubeconfig);
    args.set("leader-elect", "true");
    args.set_if(
        gates::CONTROLLER_MANAGER_INSECURE_PORT.holds(version),
        "port",
        "0",
    );
    args.set("requestheader-client-ca-file", pki("front-proxy-ca.crt"));
    args.set("root-ca-file", pki("ca.crt"));
    args.set("service-account-private-key-file", pki("sa.key"));
    args.set("use-service-account-credentials", "true");

    let mut mounts = Mounts::default();
    mounts.add(
        "ca-certs",
        CA_CERTIFICATES,
        true,
        PathType::DirectoryOrCreate,
    );
    mounts.add("k8s-certs", PKI, true, PathType::DirectoryOrCreate);
    mounts.add("kubeconfig", &kubeconfig, true, PathType::FileOrCreate);
    if flexvolume {
        let drivers = last(&wish.extra_args, "flex-volume-plugin-dir").unwrap_or(FLEXVOLUMES);
        mounts.add(
            "flexvolume-dir",
            drivers,
            false,
            PathType::DirectoryOrCreate,
        );
    }
    mounts.extend(&wish.extra_volumes);
    let bind = last(&wish.extra_args, "bind-address").unwrap_or(BIND);
    Component {
        name: "kube-controller-manager",
        program: images::component(
            config.component_source(),
            "kube-controller-manager",
            version,
        ),
        args: args.finish(&wish.extra_args, version),
        mounts,
        probes: Probes {
            host: dialable(bind),
            port: CONTROLLER_MANAGER_PORT,
            scheme: "HTTPS",
            live: "/healthz",
            ready: None,
            startup: "/healthz",
        },
        requests: vec![("cpu", "200m")],
        annotations: Vec::new(),
    }
}

fn scheduler(config: &MachineConfig) -> Component {
    let version = *config.kubernetes_version();
    let wish = config.scheduler();
    let kubeconfig = format!("{KUBERNETES}/scheduler.conf");

    let mut args = Args::new();
    args.set("authentication-kubeconfig", &kubeconfig);
    args.set("authorization-kubeconfig", &kubeconfig);
    args.set("bind-address", BIND);
    args.set_if(
        needs_dual_stack_gate(config),
        "feature-gates",
        "IPv6DualStack=true",
    );
    args.set("kubeconfig", &kubeconfig);
    args.set("leader-elect", "true");
    args.set_if(gates::SCHEDULER_INSECURE_PORT.holds(version), "port", "0");

    let mut mounts = Mounts::default();
    mounts.add("kubeconfig", &kubeconfig, true, PathType::FileOrCreate);
    mounts.extend(&wish.extra_volumes);
    let bind = last(&wish.extra_args, "bind-address").unwrap_or(BIND);
    let (live, ready) = if gates::SCHEDULER_LIVEZ.holds(version) {
        ("/livez", Some("/readyz"))
    } else {
        ("/healthz", None)
    };
    Component {
        name: "kube-scheduler",
        program: images::component(config.component_source(), "kube-scheduler", version),
        args: args.finish(&wish.extra_args, version),
        mounts,
        probes: Probes {
            host: dialable(bind),
            port: SCHEDULER_PORT,
            scheme: "HTTPS",
            live,
            ready,
            startup: live,
        },
        requests: vec![("cpu", "100m")],
        annotations: Vec::new(),
    }
}
