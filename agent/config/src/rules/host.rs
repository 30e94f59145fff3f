//! Kernel parameters and modules.

use std::collections::{BTreeMap, BTreeSet};

use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;

/// Parameters the node cannot do without; another value would break pods without saying why.
const FIXED: &[(&str, &str)] = &[
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
];

/// Judges `sysctls`.
pub(super) fn sysctls(sysctls: &BTreeMap<String, String>, at: &Path, report: &mut Report<'_>) {
    for (name, value) in sysctls {
        let at = at.key(name);
        if let Err(fault) = sysctl_name(name) {
            report.key(&at, fault);
            continue;
        }
        let plain = value.chars().all(|c| !c.is_control() || c == '\t');
        if value.trim().is_empty() || !plain || value.len() > 1024 {
            let fault = Fault::new("is not a value for a kernel parameter");
            report.value(&at, fault.hint("one line of at most 1024 characters"));
        }
        let fixed = FIXED
            .iter()
            .find(|(fixed, _)| *fixed == name.replace('/', "."));
        if let Some((_, wanted)) = fixed.filter(|(_, wanted)| value.trim() != *wanted) {
            let fault = Fault::new("would keep pods from reaching each other");
            report.value(&at, fault.hint(format!("only {wanted} is accepted")));
        }
    }
}

fn sysctl_name(name: &str) -> Result<(), Fault> {
    const SHAPE: &str = "write it dotted, for example net.core.somaxconn";
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b':' | b'@')
    };
    // An interface's own dots are written as slashes, net.ipv4.conf.eth0/100.forwarding.
    let parts: Vec<&str> = name.split('.').collect();
    let climbs = name.split(['.', '/']).any(str::is_empty);
    if name.len() > 200 || parts.len() < 2 || climbs || !name.bytes().all(allowed) {
        return Err(Fault::new("is not the name of a kernel parameter").hint(SHAPE));
    }
    const ROOTS: &[&str] = &[
        "abi", "crypto", "debug", "dev", "fs", "kernel", "net", "sunrpc", "user", "vm",
    ];
    if !ROOTS.contains(&parts[0]) {
        let hint = format!("it starts with one of {}", ROOTS.join(", "));
        return Err(Fault::new("is not the name of a kernel parameter").hint(hint));
    }
    Ok(())
}

/// Judges `kernelModules`.
pub(super) fn modules(modules: &[String], at: &Path, report: &mut Report<'_>) {
    let mut seen = BTreeSet::new();
    for (index, module) in modules.iter().enumerate() {
        let at = at.index(index);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if module.is_empty() || module.len() > 64 || !module.bytes().all(allowed) {
            let hint = "letters, digits, _ and -, for example br_netfilter; no path, no options";
            report.value(
                &at,
                Fault::new("is not the name of a kernel module").hint(hint),
            );
        } else if !seen.insert(module.replace('-', "_")) {
            report.value(
                &at,
                Fault::new("is listed twice").hint("remove one of them"),
            );
        }
    }
}
