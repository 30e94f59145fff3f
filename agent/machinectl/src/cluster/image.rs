//! The image that machines boot.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files;

/// A folder with an image's parts.
#[derive(Clone, Debug)]
pub(super) struct Image {
    folder: PathBuf,
    /// The kernel arguments that belong to it.
    pub(super) arguments: String,
}

impl Image {
    /// Looks whether all parts are there.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let told = |what: String| {
            Failure::usage(format!("image {}: {what}", folder.display()))
                .next("build one with `just image` and name its folder: --image DIR")
        };
        let folder = folder
            .canonicalize()
            .map_err(|error| told(files::plain(&error)))?;
        for part in ["vmlinuz", "initrd", "disk.raw", "cmdline"] {
            if !folder.join(part).is_file() {
                return Err(told(format!("it has no {part}")));
            }
        }
        let arguments = files::read_text(&folder.join("cmdline"))?.trim().to_owned();
        Ok(Self { folder, arguments })
    }

    /// Where its parts are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a part.
    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
