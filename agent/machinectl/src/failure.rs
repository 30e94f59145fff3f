//! What goes wrong, as a person reads it, and the exit code that a script reads.

use std::fmt;
use std::process::ExitCode;

/// The stable exit codes. 0 is success and 2 also what the argument parser uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It was tried and did not succeed.
    Failed = 1,
    /// The command line or the contexts file makes no sense.
    Usage = 2,
    /// A document has problems.
    Refused = 3,
    /// A machine could not be reached, or not in time.
    Unreachable = 4,
    /// The machine does not permit it, or one side does not trust the other.
    NotPermitted = 5,
}

/// One failure: what happened and, where known, what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// What happened, naming the operation and the object.
    pub message: String,
    /// What a person can do about it.
    pub next: Option<String>,
}

impl Failure {
    /// A failure without a next step.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            next: None,
        }
    }

    /// It was tried and did not succeed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// The command line or the contexts file makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A document has problems.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// A machine could not be reached, or not in time.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, message)
    }

    /// Somebody is not permitted or not trusted.
    pub fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(Kind::NotPermitted, message)
    }

    /// The same failure with a next step.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// The exit code of this failure.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(next) = &self.next {
            write!(f, "\n  next: {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The failure of several nodes at once: their common kind, or `Failed` for a mixture.
pub fn of_many(failures: &[Kind], asked: usize) -> Option<Failure> {
    let first = *failures.first()?;
    let kind = if failures.iter().all(|kind| *kind == first) {
        first
    } else {
        Kind::Failed
    };
    Some(Failure::new(
        kind,
        format!("{} of {asked} nodes failed", failures.len()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_of_kinds_is_a_plain_failure() {
        let kind = |kinds: &[Kind]| of_many(kinds, 3).map(|failure| failure.kind);
        assert_eq!(kind(&[]), None);
        assert_eq!(
            kind(&[Kind::Unreachable, Kind::Unreachable]),
            Some(Kind::Unreachable)
        );
        assert_eq!(
            kind(&[Kind::Unreachable, Kind::Refused]),
            Some(Kind::Failed)
        );
    }

    #[test]
    fn the_next_step_has_its_own_line() {
        let failure = Failure::usage("no context").next("machinectl context add");
        assert_eq!(
            failure.to_string(),
            "no context\n  next: machinectl context add"
        );
    }
}
