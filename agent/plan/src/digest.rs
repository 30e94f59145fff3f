//! How contents are compared: by SHA-256, so that a look holds no secret.

use sha2::{Digest, Sha256};

use crate::files::RenderedFile;

/// Hex SHA-256.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

impl RenderedFile {
    /// Hex SHA-256 of the content.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(self.content.expose().as_bytes())
    }
}
