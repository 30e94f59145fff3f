//! The peer of the endpoint: keepalived and haproxy on each control plane with the settings of
//! kubeadm's guide to high availability (kubernetes/kubeadm, docs/ha-considerations.md), beside ours
//! and before the same API servers.
//!
//! Where versions of the guide differ, the settings that notice more are taken: `/healthz` over TLS
//! rather than a hello, and a script that fails when the answer is not 200.

use std::os::unix::fs::PermissionsExt;

use qemu_tests::netns::Cluster;
use qemu_tests::put;

/// The guide's address, and the port on which its haproxy serves the API.
pub const ADDRESS: &str = "192.0.2.101";
pub const PORT: u16 = 8443;

const FOLDER: &str = "/etc/guide";

/// Starts both on a machine that is on. The first of `all` is the guide's master.
pub fn start(cluster: &mut Cluster, name: &str, all: &[&str]) -> anyhow::Result<()> {
    let mut servers = String::new();
    for server in all {
        let at = cluster.node(server)?.address.clone();
        servers.push_str(&format!(
            "    server {server} {at}:6443 check verify none\n"
        ));
    }
    let first = all.first() == Some(&name);
    let node = cluster.node(name)?;
    let folder = node.path(FOLDER)?;
    std::fs::create_dir_all(&folder)?;
    std::fs::create_dir_all(node.path("/run/guide")?)?;
    put(&folder.join("keepalived.conf"), &keepalived(first))?;
    put(&folder.join("haproxy.cfg"), &haproxy(&servers))?;
    let check = folder.join("check_apiserver.sh");
    put(&check, &script())?;
    std::fs::set_permissions(&check, PermissionsExt::from_mode(0o755))?;
    node.run_beside(&format!("/usr/sbin/haproxy -db -f {FOLDER}/haproxy.cfg"))?;
    node.run_beside(&format!(
        "/usr/sbin/keepalived --dont-fork --vrrp --log-console --use-file={FOLDER}/keepalived.conf \
         --pid=/run/guide/keepalived.pid --vrrp_pid=/run/guide/vrrp.pid"
    ))
}

fn keepalived(first: bool) -> String {
    let (state, priority) = if first {
        ("MASTER", 101)
    } else {
        ("BACKUP", 100)
    };
    format!(
        "global_defs {{
    router_id guide
}}
vrrp_script check_apiserver {{
    script \"{FOLDER}/check_apiserver.sh\"
    interval 3
    weight -2
    fall 10
    rise 2
}}
vrrp_instance guide {{
    state {state}
    interface en0
    virtual_router_id 151
    priority {priority}
    authentication {{
        auth_type PASS
        auth_pass 42
    }}
    virtual_ipaddress {{
        {ADDRESS}
    }}
    track_script {{
        check_apiserver
    }}
}}
"
    )
}

fn script() -> String {
    format!(
        "#!/bin/sh
exec curl -sfk --max-time 2 -o /dev/null https://localhost:{PORT}/healthz
"
    )
}

fn haproxy(servers: &str) -> String {
    format!(
        "defaults
    mode http
    option http-server-close
    option redispatch
    retries 1
    timeout http-request 10s
    timeout queue 20s
    timeout connect 5s
    timeout client 35s
    timeout server 35s
    timeout http-keep-alive 10s
    timeout check 10s
frontend apiserver
    bind *:{PORT}
    mode tcp
    default_backend apiserverbackend
backend apiserverbackend
    option httpchk
    http-check connect ssl
    http-check send meth GET uri /healthz
    http-check expect status 200
    mode tcp
    balance roundrobin
{servers}"
    )
}
