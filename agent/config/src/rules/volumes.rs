//! Host paths that a component's pod gets beyond its own.

use std::collections::BTreeSet;

use super::args::Program;
use crate::document::VolumeSection;
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{HostVolume, check_label};

/// Names of the volumes the agent's own pods have.
const OWN_VOLUMES: &[&str] = &[
    "k8s-certs",
    "ca-certs",
    "kubeconfig",
    "etcd-data",
    "etcd-certs",
    "flexvolume-dir",
    "usr",
];

/// Where the agent's own volumes are: a pod with two on one path is refused.
const fn own_mounts(program: Program) -> &'static [&'static str] {
    const MANAGER: &str = "/etc/kubernetes/controller-manager.conf";
    const SCHEDULER: &str = "/etc/kubernetes/scheduler.conf";
    match program {
        Program::ApiServer => &["/usr", "/etc/kubernetes/pki", "/etc/ssl/certs"],
        Program::ControllerManager => &[
            "/usr",
            "/etc/kubernetes/pki",
            "/etc/ssl/certs",
            "/var/lib/kubelet/volumeplugins",
            MANAGER,
        ],
        Program::Scheduler => &["/usr", SCHEDULER],
        Program::Etcd => &["/usr", "/etc/kubernetes/pki/etcd", "/var/lib/etcd"],
        Program::Kubelet => &[],
    }
}

pub(super) fn judge(
    sections: Vec<VolumeSection>,
    program: Program,
    at: &Path,
    report: &mut Report<'_>,
) -> Vec<HostVolume> {
    let mut names = BTreeSet::new();
    let mut mounts = BTreeSet::new();
    let mut volumes = Vec::with_capacity(sections.len());
    for (index, section) in sections.into_iter().enumerate() {
        let at = at.index(index);
        if let Err(fault) = check_label(&section.name) {
            report.value(&at.key("name"), fault);
        } else if OWN_VOLUMES.contains(&section.name.as_str()) {
            let fault = Fault::new("is the name of a volume the agent adds");
            report.value(&at.key("name"), fault.hint("choose another"));
        } else if !names.insert(section.name.clone()) {
            let fault = Fault::new("is the name of another volume");
            report.value(&at.key("name"), fault.hint("choose another"));
        }
        for (key, path) in [
            ("hostPath", &section.host_path),
            ("mountPath", &section.mount_path),
        ] {
            if let Err(fault) = absolute(path) {
                report.value(&at.key(key), fault);
            }
        }
        let mount = section.mount_path.trim_end_matches('/').to_owned();
        if own_mounts(program).contains(&mount.as_str()) {
            let fault = Fault::new("is where the agent mounts a volume of its own");
            report.value(&at.key("mountPath"), fault.hint("choose another path"));
        } else if !mounts.insert(mount) {
            let fault = Fault::new("is where another volume is mounted");
            report.value(&at.key("mountPath"), fault.hint("choose another path"));
        }
        volumes.push(HostVolume {
            name: section.name,
            host_path: section.host_path,
            mount_path: section.mount_path,
            read_only: section.read_only,
            path_type: section.path_type,
        });
    }
    volumes
}

fn absolute(path: &str) -> Result<(), Fault> {
    let climbs = path.split('/').any(|part| matches!(part, ".." | "."));
    if !path.starts_with('/') || climbs || path.len() > 4096 || path.chars().any(char::is_control) {
        return Err(Fault::new("is not an absolute path").hint("start with /, without . and .."));
    }
    if path.contains(':') {
        return Err(Fault::new("contains a colon, which Kubernetes refuses"));
    }
    if path.trim_end_matches('/').is_empty() {
        return Err(Fault::new("is the root itself").hint("name something below it"));
    }
    Ok(())
}
