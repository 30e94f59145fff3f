//! What a stage has to say after one look.

use serde::Serialize;

use crate::action::Action;
use crate::stages::Stage;

/// A stage's verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// All is as desired.
    Settled,
    /// These effects, in this order; the rest of the list is dropped at the
    /// first failure and the next look plans anew.
    Act {
        /// Never empty.
        actions: Vec<Action>,
    },
    /// Nothing can be done now; somebody or something else has to.
    Blocked {
        /// Why.
        reason: String,
        /// What would help, if anything is known to.
        next_step: Option<String>,
    },
    /// A stage that this one needs is not settled.
    Held {
        /// That stage.
        by: Stage,
    },
}

impl Verdict {
    /// Settled if there is nothing to do.
    pub fn act(actions: Vec<Action>) -> Self {
        if actions.is_empty() {
            Self::Settled
        } else {
            Self::Act { actions }
        }
    }

    /// Blocked without advice: it is only a matter of time.
    pub fn wait(reason: impl Into<String>) -> Self {
        Self::Blocked {
            reason: reason.into(),
            next_step: None,
        }
    }

    /// Blocked with advice.
    pub fn blocked(reason: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self::Blocked {
            reason: reason.into(),
            next_step: Some(next_step.into()),
        }
    }
}

/// One verdict per stage, in the stages' order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Every stage exactly once.
    pub stages: Vec<(Stage, Verdict)>,
}

impl Plan {
    /// Whether nothing is left to do or to wait for.
    pub fn settled(&self) -> bool {
        self.stages
            .iter()
            .all(|(_, verdict)| *verdict == Verdict::Settled)
    }

    /// A stage's verdict.
    pub fn verdict(&self, stage: Stage) -> Option<&Verdict> {
        self.stages
            .iter()
            .find(|(s, _)| *s == stage)
            .map(|(_, verdict)| verdict)
    }
}
