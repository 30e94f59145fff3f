use std::collections::BTreeMap;

/// The image's own root for containers: its verified binaries and nothing else.
pub const EMBEDDED_IMAGE: &str = "localhost/machined/embedded:1";

/// What containerd gets beyond its defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containerd {
    /// Where images of a registry are fetched instead, by registry host; `*` stands for any other.
    pub registry_mirrors: BTreeMap<String, Mirror>,
    /// The image every pod's sandbox runs; [`EMBEDDED_IMAGE`] unless a document names another.
    pub sandbox_image: String,
}

impl Default for Containerd {
    fn default() -> Self {
        Self {
            registry_mirrors: BTreeMap::new(),
            sandbox_image: EMBEDDED_IMAGE.to_owned(),
        }
    }
}

/// Where images of one registry are fetched instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mirror {
    /// `http://` or `https://` URLs, tried in order.
    pub endpoints: Vec<String>,
}

/// Where the control plane's programs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComponentSource {
    /// The image's own verified binaries.
    Embedded,
    /// Container images below this prefix, for example `registry.example/k8s`.
    Registry(String),
}
