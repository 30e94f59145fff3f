//! The built-in pod network of one node: a bridge.

use ipnet::IpNet;
use machine_config::MachineConfig;
use serde_json::{Value, json};

use crate::files::RenderedFile;

/// Where the CNI plugins are.
pub(super) const CNI_BINARIES: &str = "/usr/lib/cni";
/// Where containerd looks for networks.
pub(super) const CNI_CONFIG: &str = "/etc/cni/net.d";

/// The network's configuration for the ranges this node was given, one per family.
///
/// Which addresses are in use is kept in `/run`: after a power cut no pod is left, and a list on
/// the disk would leak an address for each one that was.
#[must_use]
pub fn cni(config: &MachineConfig, pod_cidrs: &[IpNet]) -> RenderedFile {
    let ranges: Vec<Value> = pod_cidrs
        .iter()
        .map(|net| json!([{ "subnet": net.trunc().to_string() }]))
        .collect();
    let routes: Vec<Value> = pod_cidrs
        .iter()
        .map(|net| {
            if net.addr().is_ipv4() {
                "0.0.0.0/0"
            } else {
                "::/0"
            }
        })
        .map(|everywhere| json!({ "dst": everywhere }))
        .collect();
    let network = json!({
        "cniVersion": "1.0.0",
        "name": config.cluster_name(),
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                // The plugin would hide a pod's address from pods of other nodes too: the
                // machine's own table does it instead, see `firewall`.
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni/host-local",
                    "ranges": ranges,
                    "routes": routes,
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    RenderedFile::public(format!("{CNI_CONFIG}/10-bridge.conflist"), pretty(&network))
}

/// CNI takes JSON only. `{:#}` is serde_json's indented form.
fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
