//! The virtual IP: held by one control plane at a time, one whose API server is ready.

use std::net::IpAddr;

use machine_config::{MachineConfig, VirtualIp};

use super::API_PORT;
use crate::facts::HostFacts;
use crate::files::RenderedFile;

const CONFIG: &str = "/etc/keepalived/keepalived.conf";
/// What the watcher of readiness is told, see `machined readyz`.
const READYZ: &str = "/etc/keepalived/readyz.env";
/// Where it says what it finds: 0 is ready. Its unit makes the folder.
pub const UNREADY_FILE: &str = "/run/machined-readyz/unready";

/// So many advertisements that did not come are a holder that is gone (RFC 9568, section 6.1). The
/// watcher is as patient with an API server that does not answer at all.
const PATIENCE: u32 = 10;

/// keepalived's configuration and its watcher's. `None` where no address is to be held, or the machine
/// has none of its family on an interface.
#[must_use]
pub fn keepalived(config: &MachineConfig, facts: &HostFacts) -> Option<Vec<RenderedFile>> {
    let wish = config.virtual_ip()?;
    let interface = facts.interface.as_deref()?;
    let fits = wish.address.is_ipv4() == facts.node_ip.is_ipv4();
    (config.role().is_control_plane() && fits).then(|| {
        let text = text(wish, config, facts, interface);
        let interval = wish.advert_interval_milliseconds;
        let readyz = format!(
            "READYZ_SERVER={}\nREADYZ_INTERVAL_MILLISECONDS={interval}\n\
             READYZ_PATIENCE_MILLISECONDS={}\n",
            std::net::SocketAddr::new(facts.node_ip, API_PORT),
            interval * PATIENCE,
        );
        vec![
            RenderedFile::public(CONFIG, text),
            RenderedFile::public(READYZ, readyz),
        ]
    })
}

/// All have the same priority, and none takes the address back: it moves only when its holder cannot
/// serve. The peers are named, so that no multicast is needed. Where the address is now is said five times
/// a fifth of a second apart, and so once more after a second: Linux does not believe it of a neighbour that
/// it heard of within the last one (`locktime`), and goes on asking the old holder until keepalived says it
/// again, by default after 5 s.
fn text(wish: &VirtualIp, config: &MachineConfig, facts: &HostFacts, interface: &str) -> String {
    let own = facts.node_ip;
    let same = |ip: &&IpAddr| **ip != own && ip.is_ipv4() == own.is_ipv4();
    let peers: String = facts
        .control_planes
        .iter()
        .filter(same)
        .map(|ip| format!("        {ip}\n"))
        .collect();
    let whole = if own.is_ipv4() { 32 } else { 128 };
    let seconds = f64::from(wish.advert_interval_milliseconds) / 1000.0;
    format!(
        "global_defs {{
    router_id {hostname}
    vrrp_version 3
    vrrp_garp_master_delay 1
    vrrp_garp_interval 0.2
    vrrp_garp_master_refresh 10
}}

track_file unready {{
    file \"{UNREADY_FILE}\"
    weight 0
    init_file 1
}}

vrrp_instance kube-apiserver {{
    state BACKUP
    nopreempt
    interface {interface}
    virtual_router_id {id}
    priority 100
    advert_int {seconds}
    unicast_src_ip {own}
    unicast_peer {{
{peers}    }}
    track_file {{
        unready
    }}
    virtual_ipaddress {{
        {address}/{whole} dev {interface}
    }}
}}
",
        hostname = config.hostname(),
        id = wish.router_id,
        address = wish.address,
    )
}
