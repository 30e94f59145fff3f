//! The syntax Kubernetes gives labels and taints.

use crate::problem::Fault;
use crate::types::check_subdomain;

/// `[prefix/]name`.
pub(super) fn key(key: &str) -> Result<(), Fault> {
    const SHAPE: &str = "write name or domain/name, for example example.com/disk";
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix
        && let Err(fault) = check_subdomain(prefix)
    {
        let message = format!("has a prefix that {}", fault.message);
        return Err(Fault::new(message).hint(SHAPE));
    }
    if name.is_empty() || !is_word(name) {
        let message = "has a name that is not 1 to 63 letters, digits, -, _ and .";
        return Err(Fault::new(message).hint(SHAPE));
    }
    Ok(())
}

/// Empty, or like a name.
pub(super) fn value(value: &str) -> Result<(), Fault> {
    if value.is_empty() || is_word(value) {
        return Ok(());
    }
    let message = "is not a label value";
    Err(Fault::new(message)
        .hint("at most 63 letters, digits, -, _ and ., starting and ending with a letter or digit"))
}

fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(inner)
        && edge(text.bytes().next())
        && edge(text.bytes().last())
}

/// Which labels a kubelet may put on its own node: below kubernetes.io and k8s.io only some.
pub(super) fn may_set_itself(key: &str) -> Result<(), Fault> {
    let Some((prefix, name)) = key.split_once('/') else {
        return Ok(());
    };
    let below = |domain: &str| {
        prefix == domain
            || prefix
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    if prefix == "node-role.kubernetes.io" {
        return Err(
            Fault::new("is a role, which a node may not give itself").hint(match name {
                "control-plane" | "master" => "the agent labels control plane machines",
                _ => "label the node with kubectl, or use a label of your own",
            }),
        );
    }
    match key {
        "kubernetes.io/hostname" => {
            return Err(Fault::new("is set by the kubelet").hint("use machine.hostname"));
        }
        "kubernetes.io/os"
        | "kubernetes.io/arch"
        | "beta.kubernetes.io/os"
        | "beta.kubernetes.io/arch" => {
            return Err(Fault::new("is set by the kubelet").hint("remove it"));
        }
        "beta.kubernetes.io/instance-type"
        | "topology.kubernetes.io/region"
        | "topology.kubernetes.io/zone"
        | "failure-domain.beta.kubernetes.io/region"
        | "failure-domain.beta.kubernetes.io/zone" => return Ok(()),
        _ => {}
    }
    if below("kubelet.kubernetes.io") || below("node.kubernetes.io") {
        return Ok(());
    }
    if below("kubernetes.io") || below("k8s.io") {
        return Err(
            Fault::new("is below a domain where a node may not label itself")
                .hint("use node.kubernetes.io/ or a domain of your own"),
        );
    }
    Ok(())
}
