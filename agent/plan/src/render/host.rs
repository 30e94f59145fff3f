//! Files of the host itself.

use std::collections::BTreeMap;

use machine_config::MachineConfig;

use super::network;
use crate::files::RenderedFile;

/// What Kubernetes needs of the kernel, before the user's own settings.
const SYSCTLS: [(&str, &str); 9] = [
    // Watches of many pods' logs and config: the kernel's 128 instances are soon used up.
    ("fs.inotify.max_user_instances", "8192"),
    // A node that oopsed is worth less than one that reboots. The kubelet sets these too, and
    // refuses to start with `protectKernelDefaults` if they are otherwise.
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    // Service addresses must work between pods on the same bridge.
    ("net.bridge.bridge-nf-call-ip6tables", "1"),
    ("net.bridge.bridge-nf-call-iptables", "1"),
    ("net.ipv4.conf.all.forwarding", "1"),
    ("net.ipv4.ip_forward", "1"),
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
];

/// What of these a machine needs that is no node.
const OF_ANY: [&str; 2] = ["kernel.panic", "kernel.panic_on_oops"];

/// Modules that must be there before the settings above can be made.
const MODULES: [&str; 2] = ["overlay", "br_netfilter"];

/// Name, network, time, DNS and kernel settings of the machine.
#[must_use]
pub fn host(config: &MachineConfig) -> Vec<RenderedFile> {
    let mut files = vec![
        RenderedFile::public("/etc/hostname", format!("{}\n", config.hostname())),
        // Static binaries resolve names without nss-myhostname.
        RenderedFile::public("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        RenderedFile::public("/etc/modules-load.d/90-machined.conf", modules(config)),
        RenderedFile::public("/etc/sysctl.d/90-machined.conf", sysctls(config)),
    ];
    files.extend(network::network(config));
    files
}

fn modules(config: &MachineConfig) -> String {
    let mut names: Vec<&str> = match config.role().has_node() {
        true => MODULES.to_vec(),
        false => Vec::new(),
    };
    for module in config.kernel_modules() {
        if !names.contains(&module.as_str()) {
            names.push(module);
        }
    }
    names.iter().map(|name| format!("{name}\n")).collect()
}

fn sysctls(config: &MachineConfig) -> String {
    let mut settings: BTreeMap<String, String> = SYSCTLS
        .iter()
        .filter(|(key, _)| config.role().has_node() || OF_ANY.contains(key))
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    if config.role().has_node() && config.pod_subnets().iter().any(|net| net.addr().is_ipv6()) {
        settings.insert("net.ipv6.conf.all.forwarding".to_owned(), "1".to_owned());
    }
    settings.extend(config.sysctls().clone());
    settings
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect()
}
