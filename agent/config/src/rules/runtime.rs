//! containerd's part, and what an image reference looks like.

use std::collections::BTreeMap;

use crate::document::ContainerdSection;
use crate::path::Path;
use crate::problem::Fault;
use crate::report::Report;
use crate::types::{Containerd, EMBEDDED_IMAGE, Mirror, check_subdomain};

pub(super) fn judge(section: ContainerdSection, at: &Path, report: &mut Report<'_>) -> Containerd {
    let mut registry_mirrors = BTreeMap::new();
    for (registry, mirror) in section.registry_mirrors {
        let at = at.key("registryMirrors").key(&registry);
        if registry != "*"
            && let Err(fault) = registry_host(&registry)
        {
            report.key(&at, fault);
        }
        let at = at.key("endpoints");
        if mirror.endpoints.is_empty() {
            let fault = Fault::new("names no endpoint");
            report.value(&at, fault.hint("name at least one, or remove the registry"));
        }
        for (index, endpoint) in mirror.endpoints.iter().enumerate() {
            if let Err(fault) = mirror_url(endpoint) {
                report.value(&at.index(index), fault);
            }
        }
        registry_mirrors.insert(
            registry,
            Mirror {
                endpoints: mirror.endpoints,
            },
        );
    }
    let sandbox_image = match section.sandbox_image.as_str() {
        "" => EMBEDDED_IMAGE.to_owned(),
        image => {
            if let Err(fault) = image_reference(image) {
                report.value(&at.key("sandboxImage"), fault);
            }
            section.sandbox_image
        }
    };
    Containerd {
        registry_mirrors,
        sandbox_image,
    }
}

/// A registry's host, perhaps with port.
fn registry_host(text: &str) -> Result<(), Fault> {
    const SHAPE: &str = "write the registry's host, for example docker.io or registry.example:5000";
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let number = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => check_subdomain(host).is_ok(),
    };
    if host && port.is_none_or(number) {
        return Ok(());
    }
    Err(Fault::new("is not a registry's host").hint(SHAPE))
}

/// The value is not quoted: a careless one holds a password.
fn mirror_url(text: &str) -> Result<(), Fault> {
    const SHAPE: &str = "write http://host or https://host, with port and path if needed";
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err(Fault::new("is not a URL").hint(SHAPE));
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.contains('@') {
        return Err(Fault::new("contains credentials").hint("a config is no place for them"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%:".contains(&byte);
    if registry_host(host).is_err() || !path.bytes().all(plain) {
        return Err(Fault::new("is not a registry's URL").hint(SHAPE));
    }
    Ok(())
}

/// Where a registry prefix such as `registry.example/k8s` points.
pub(super) fn registry_prefix(text: &str) -> Result<(), Fault> {
    const SHAPE: &str = "write embedded, or a registry prefix such as registry.example/k8s";
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    let names_host = host.contains('.') || host.contains(':') || host == "localhost";
    if !names_host || registry_host(host).is_err() {
        return Err(Fault::new("names no registry").hint(SHAPE));
    }
    if !path.is_empty() && !path.split('/').all(is_path_component) {
        let tagged = path.contains([':', '@']);
        let message = if tagged {
            "names one image, not a prefix"
        } else {
            "is not a registry prefix"
        };
        return Err(Fault::new(message).hint(SHAPE));
    }
    Ok(())
}

/// `host/path:tag` or `host/path@sha256:…`.
fn image_reference(text: &str) -> Result<(), Fault> {
    const SHAPE: &str = "write host/path:tag, for example registry.example/pause:3.10";
    let wrong = |message: &str| Err(Fault::new(message).hint(SHAPE));
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return wrong("has a digest that is not sha256 and 64 hexadecimal digits");
        }
    }
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    if let Some(tag) = tag {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let starts = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if !starts || tag.len() > 128 || !tag.bytes().all(allowed) {
            return wrong("has a tag that is not a tag");
        }
    } else if digest.is_none() {
        return wrong("has neither tag nor digest, so it would change by itself");
    }
    match name.split_once('/') {
        Some((host, path))
            if registry_host(host).is_ok() && path.split('/').all(is_path_component) =>
        {
            Ok(())
        }
        _ => wrong("is not an image reference with its registry"),
    }
}

fn is_path_component(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text
            .chars()
            .all(|c| edge(c) || matches!(c, '.' | '_' | '-'))
}
