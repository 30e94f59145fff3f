//! containerd's configuration.

use machine_config::MachineConfig;

use super::cni::{CNI_BINARIES, CNI_CONFIG};
use crate::files::RenderedFile;

const CONFIG: &str = "/etc/containerd/config.toml";
const REGISTRIES: &str = "/etc/containerd/certs.d";

/// containerd 1.7's configuration and one `hosts.toml` for each registry with mirrors.
#[must_use]
pub fn containerd(config: &MachineConfig) -> Vec<RenderedFile> {
    let wish = config.containerd();
    let mut files = vec![RenderedFile::public(
        CONFIG,
        main_config(&wish.sandbox_image),
    )];
    for (registry, mirror) in &wish.registry_mirrors {
        // containerd's word for any other.
        let folder = if registry == "*" {
            "_default"
        } else {
            registry
        };
        let path = format!("{REGISTRIES}/{folder}/hosts.toml");
        files.push(RenderedFile::public(path, hosts(&mirror.endpoints)));
    }
    files
}

/// `opt` is off because it makes a directory in `/`, which is read-only. containerd must be among
/// the last things the kernel kills for memory: every container's shim hangs on it.
fn main_config(sandbox_image: &str) -> String {
    let sandbox_image = quote(sandbox_image);
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = -999
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = {sandbox_image}

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_BINARIES}"
conf_dir = "{CNI_CONFIG}"

[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{REGISTRIES}"
"#
    )
}

/// Mirrors in the user's order; without a `server` line, the registry itself is asked last.
fn hosts(endpoints: &[String]) -> String {
    let mut text = String::new();
    for endpoint in endpoints {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!(
            "[host.{}]\ncapabilities = [\"pull\", \"resolve\"]\n",
            quote(endpoint)
        ));
    }
    text
}

/// A TOML basic string: JSON's escapes are a subset of TOML's.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_toml_with_the_sandbox_image_in_it() {
        let parsed: toml::Table = main_config("odd\"name\\:1").parse().unwrap();
        let cri = &parsed["plugins"]["io.containerd.grpc.v1.cri"];
        assert_eq!(cri["sandbox_image"].as_str(), Some("odd\"name\\:1"));
        let runc = &cri["containerd"]["runtimes"]["runc"]["options"];
        assert_eq!(runc["SystemdCgroup"].as_bool(), Some(true));
    }

    #[test]
    fn mirrors_keep_their_order() {
        let text = hosts(&[
            "https://b.example".to_owned(),
            "http://a.example:5000".to_owned(),
        ]);
        let parsed: toml::Table = text.parse().unwrap();
        let hosts = parsed["host"].as_table().unwrap();
        assert_eq!(hosts.len(), 2);
        assert!(text.find("b.example") < text.find("a.example"));
    }
}
