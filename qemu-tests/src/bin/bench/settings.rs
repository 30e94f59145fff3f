//! What the recipe hands over.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use qemu_tests::Image;

/// The parts, in the order of the table.
const PARTS: [&str; 10] = [
    "ready", "boot", "join", "learner", "endpoint", "balancer", "agents", "look", "secrets",
    "sizes",
];

/// Where everything is, and how much of it to do.
pub struct Settings {
    /// The CLI as released.
    pub machinectl: PathBuf,
    /// The agent as released.
    pub machined: PathBuf,
    /// The folder of the image's Kubernetes binaries; kubeadm is among them.
    pub kubernetes: PathBuf,
    /// The tree's folder `image`.
    pub scripts: PathBuf,
    /// How often both ways to a Ready node are gone.
    pub rounds: usize,
    /// How often each machine is booted.
    pub boots: usize,
    /// How often each fault of the endpoint is caused.
    pub faults: usize,
    /// What plays a machine's surroundings.
    pub double: String,
    parts: Vec<String>,
}

impl Settings {
    /// From the recipe's variables; `parts` chooses, none means all.
    pub fn from_env(parts: Vec<String>) -> anyhow::Result<Self> {
        for part in &parts {
            ensure!(
                PARTS.contains(&part.as_str()),
                "no part {part:?}: there are {}",
                PARTS.join(", ")
            );
        }
        Ok(Self {
            machinectl: path("MACHINECTL")?,
            machined: path("MACHINED_BINARY")?,
            kubernetes: path("KUBERNETES_BINARIES")?,
            scripts: path("IMAGE_SCRIPTS")?,
            rounds: count("BENCH_ROUNDS", 1)?,
            boots: count("BENCH_BOOTS", 3)?,
            faults: count("BENCH_FAULTS", 5)?,
            double: std::env::current_exe()?
                .with_file_name("node-double")
                .display()
                .to_string(),
            parts,
        })
    }

    /// The node image with the agent as released. Only parts that boot machines need it.
    pub fn image(&self) -> anyhow::Result<Image> {
        Image::from_env()
    }

    /// Its folder.
    pub fn image_folder(&self) -> anyhow::Result<PathBuf> {
        path("MACHINED_IMAGE")
    }

    /// Whether a part is to be measured.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|p| p == part)
    }
}

fn path(name: &str) -> anyhow::Result<PathBuf> {
    let value = std::env::var_os(name);
    let value = value.with_context(|| format!("{name} is not set: run `just bench`"))?;
    Ok(PathBuf::from(value))
}

fn count(name: &str, default: usize) -> anyhow::Result<usize> {
    let Ok(text) = std::env::var(name) else {
        return Ok(default);
    };
    let count = text.parse().ok().filter(|n| (1..=20).contains(n));
    count.with_context(|| format!("{name} is {text:?}: give a number from 1 to 20"))
}
