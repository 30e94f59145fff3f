//! The load balancer of this node: one address on loopback, behind it every API server that is ready.

use std::net::{IpAddr, SocketAddr};

use machine_config::MachineConfig;

use super::{API_PORT, PKI};
use crate::facts::HostFacts;
use crate::files::RenderedFile;

const CONFIG: &str = "/etc/haproxy/haproxy.cfg";

/// Where it listens, on loopback alone.
pub const LOAD_BALANCER_PORT: u16 = 7445;

/// haproxy's configuration, where the node is to have one. `joins`: this machine's member of etcd has no vote
/// yet, and so no API server beside it. Connections that exist outlive a change of
/// this file.
#[must_use]
pub fn haproxy(
    config: &MachineConfig,
    facts: &HostFacts,
    joins: bool,
) -> Option<Vec<RenderedFile>> {
    let file = || RenderedFile::public(CONFIG, text(&servers(config, facts, joins)));
    let wanted = config.node_load_balancer() && config.role().has_node();
    wanted.then(|| vec![file()])
}

/// The API as this node's clients find it.
#[must_use]
pub fn api_url(config: &MachineConfig) -> String {
    match config.node_load_balancer() {
        true => format!("https://127.0.0.1:{LOAD_BALANCER_PORT}"),
        false => config.control_plane_endpoint().url(),
    }
}

/// A worker asks all alike, and where the endpoint leads while it knows no other. A control plane
/// keeps to its own API server, and asks the others while that is not ready; as long as it has none, a
/// server that is up until it was checked twice would only cost time. The last of the list is
/// asked without being checked, when no other is left: one that is too slow to be called ready may still
/// answer.
fn servers(config: &MachineConfig, facts: &HostFacts, joins: bool) -> Vec<String> {
    let control_planes = &facts.control_planes;
    let own = config.role().is_control_plane().then_some(facts.node_ip);
    let others_first = joins && control_planes.iter().any(|ip| Some(*ip) != own);
    let (own_last, other_last) = match (own, others_first) {
        (Some(_), false) => ("", " backup"),
        (Some(_), true) => (" backup", ""),
        (None, _) => ("", ""),
    };
    let mut servers: Vec<String> = own
        .iter()
        .map(|ip| format!("self {}{own_last}", SocketAddr::new(*ip, API_PORT)))
        .collect();
    for ip in control_planes.iter().filter(|ip| Some(**ip) != own) {
        let name = ip.to_string().replace([':', '.'], "-");
        let at = SocketAddr::new(*ip, API_PORT);
        servers.push(format!("cp-{name} {at}{other_last}"));
    }
    let endpoint = config.control_plane_endpoint();
    let known = |ip: IpAddr| endpoint.port() == API_PORT && control_planes.contains(&ip);
    if own.is_none() && !endpoint.ip().is_some_and(known) {
        let backup = if servers.is_empty() { "" } else { " backup" };
        // A name is looked up again and again, and never waited for at the start.
        let lookup = match endpoint.ip() {
            Some(_) => "",
            None => " init-addr none resolvers system",
        };
        servers.push(format!("endpoint {endpoint}{lookup}{backup}"));
    }
    // Whoever begins a cluster serves some time before it calls itself ready.
    let other = control_planes.iter().find(|ip| Some(**ip) != own);
    let last = match own {
        Some(ip) => {
            let ip = other.filter(|_| others_first).unwrap_or(&ip);
            SocketAddr::new(*ip, API_PORT).to_string()
        }
        None => match endpoint.ip() {
            Some(_) => endpoint.to_string(),
            None => format!("{endpoint} init-addr none resolvers system"),
        },
    };
    servers.push(format!("last {last} no-check backup"));
    servers
}

/// The checks see what a client sees: TLS by the cluster's authority, and `/readyz`. Who refuses
/// strangers there (401, 403) serves. A server that is not ready any more gets no new connections; those
/// that exist are its own to end. One that is gone without a word is noticed by the kernel: data that
/// is not acknowledged for 10 s, or three probes of an idle connection. One that refuses a connection is
/// left at once, for the next check a second later to find again: without that the same connection is tried
/// there again, after a second each time.
fn text(servers: &[String]) -> String {
    let mut text = format!(
        "global
    log stdout format raw daemon notice

resolvers system
    parse-resolv-conf

defaults
    mode tcp
    log global
    timeout connect 1s
    timeout check 3s
    timeout client 1h
    timeout server 1h
    retries 3
    option redispatch 1
    option clitcpka
    option srvtcpka
    srvtcpka-idle 10s
    srvtcpka-intvl 3s
    srvtcpka-cnt 3

frontend kube-apiserver
    bind 127.0.0.1:{LOAD_BALANCER_PORT}
    default_backend kube-apiserver

backend kube-apiserver
    balance leastconn
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr host kubernetes
    http-check expect rstatus ^(200|401|403)$
    default-server check check-ssl check-sni kubernetes check-alpn http/1.1 verify required \
verifyhost kubernetes ca-file {PKI}/ca.crt inter 3s fastinter 1s downinter 1s fall 2 rise 1 tcp-ut 10s \
observe layer4 error-limit 1 on-error mark-down
"
    );
    for server in servers {
        text.push_str(&format!("    server {server}\n"));
    }
    text
}
