//! Where in a document: the chain of keys and positions from its root.

use std::fmt;

/// One way down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// The chain of steps to one value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    pub(crate) fn root() -> Self {
        Self::default()
    }

    /// The path of a field below this one.
    pub(crate) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The path of an entry of the list at this path.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path itself and everything it is inside of.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Path> + '_ {
        (0..=self.0.len()).map(|length| Self(self.0[..length].to_vec()))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(position) => write!(f, "[{position}]")?,
                Step::Key(key) if is_word(key) => {
                    if index > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(key)?;
                }
                Step::Key(key) => write!(f, "[{}]", quote(key))?,
            }
        }
        Ok(())
    }
}

fn is_word(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 60
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'?'))
}

/// A user's word inside a message: quoted, without control characters, never long.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_field() {
        let path = Path::root()
            .key("machine")
            .key("sysctls")
            .key("net.core.somaxconn");
        assert_eq!(path.to_string(), "machine.sysctls[\"net.core.somaxconn\"]");
        let path = Path::root()
            .key("network")
            .key("interfaces")
            .index(2)
            .key("mtu");
        assert_eq!(path.to_string(), "network.interfaces[2].mtu");
    }

    #[test]
    fn quotes_briefly_and_without_control_characters() {
        assert_eq!(quote("a\u{1b}[31m\n"), "\"a\\u{1b}[31m\\n\"");
        assert!(quote(&"x".repeat(500)).chars().count() < 70);
    }
}
