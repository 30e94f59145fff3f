//! A file that should be on the machine.

use std::fmt;

use machine_pki::{REDACTED, Secret};
use serde::{Serialize, Serializer};

/// A file as it should be: whole, never edited in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RenderedFile {
    /// Absolute path on the machine.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Content,
}

/// The content of a file: shown to whoever asks for it, or not.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// May be printed.
    Plain(String),
    /// A key, a token, or something that carries one.
    Secret(Secret),
}

impl RenderedFile {
    /// A file anyone on the machine may read.
    #[must_use]
    pub fn public(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            content: Content::Plain(text.into()),
        }
    }

    /// A file only root may read, though its text is no secret.
    #[must_use]
    pub fn private(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            mode: 0o600,
            content: Content::Plain(text.into()),
        }
    }

    /// A file only root may read and nobody may print.
    #[must_use]
    pub fn secret(path: impl Into<String>, text: Secret) -> Self {
        Self {
            path: path.into(),
            mode: 0o600,
            content: Content::Secret(text),
        }
    }
}

impl Content {
    /// The bytes to write. Whoever prints them has checked that they are not a secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.expose(),
        }
    }

    /// The text to show: the content itself, or a mark that it is secret.
    #[must_use]
    pub fn shown(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(_) => REDACTED,
        }
    }

    /// Whether this must not be printed.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.debug_tuple("Plain").field(text).finish(),
            Self::Secret(_) => write!(f, "Secret({REDACTED})"),
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_is_written_but_never_shown() {
        let file = RenderedFile::secret("/etc/key", Secret::new("hunter2".to_owned()));
        assert_eq!(file.content.expose(), "hunter2");
        assert_eq!(file.mode, 0o600);
        let json = serde_json::to_string(&file).unwrap();
        assert!(
            !json.contains("hunter2") && !format!("{file:?}").contains("hunter2"),
            "{json}"
        );
    }
}
