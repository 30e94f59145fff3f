//! What is to be said about a place of the input.

use std::fmt;

use crate::problem::Problem;

/// A problem or a note, and which file it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file; empty for what is in none.
    pub file: String,
    /// What is to be said, and where in the file. Never the value of a secret.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            let space = if self.problem.line == 0 { " " } else { "" };
            write!(f, "{}:{space}", self.file)?;
        }
        self.problem.fmt(f)
    }
}
