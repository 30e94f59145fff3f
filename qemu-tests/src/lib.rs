//! Machines for stories, nothing shared with the code under test but its binaries: booted ones,
//! of real images by real QEMU, and in `netns` ones made of namespaces.

mod command;
mod deadline;
mod emulation;
pub mod netns;
mod serial;
mod shell;
mod vm;

pub use command::{
    Ran, apply, enrolment, gen_config, gen_config_to_boot, kubectl, machinectl, machinectl_fails,
    run, run_quietly,
};
pub use deadline::{Deadline, factor};
pub use emulation::emulated;
pub use vm::{Image, Lan, Machine, Spec, Workshop};

/// Writes a story's file; stories need no durability.
pub fn put(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
