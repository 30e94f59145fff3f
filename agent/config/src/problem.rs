//! What is wrong with a document, where, and what to do about it.

use std::fmt;

/// One thing that is wrong with a document.
///
/// Neither `message` nor `hint` ever contains the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, counted from 1; 0 when the place is unknown.
    pub line: usize,
    /// The column in characters, counted from 1; 0 when the place is unknown.
    pub column: usize,
    /// The field, for example `machine.network.interfaces[0].mtu`; empty for the whole input.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would make it right, where that is known.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{} ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Every problem of one input, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// How many problems one answer holds. A megabyte of nonsense has tens of thousands, and
    /// nobody reads past the first screens; the last entry then says how many were left out.
    pub const MOST: usize = 200;

    /// Sorts and shortens; `uncounted` more were never written down.
    pub(crate) fn new(mut problems: Vec<Problem>, uncounted: usize) -> Self {
        debug_assert!(!problems.is_empty(), "a refusal names at least one problem");
        problems.sort();
        problems.dedup();
        let left_out = problems.len().saturating_sub(Self::MOST) + uncounted;
        if left_out > 0 {
            problems.truncate(Self::MOST);
            problems.push(Problem {
                line: 0,
                column: 0,
                path: String::new(),
                message: format!("{left_out} more problems are not listed"),
                hint: None,
            });
        }
        Self(problems)
    }

    pub(crate) fn whole_input(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self(vec![Problem {
            line: 0,
            column: 0,
            path: String::new(),
            message: message.into(),
            hint: Some(hint.into()),
        }])
    }

    /// The problems one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many problems are listed.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a refusal is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Why one value is not acceptable, before it is known where it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// What would make it right, where that is known.
    pub hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
