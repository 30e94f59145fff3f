//! Whom the machine lets in. A stage of its own that no other needs: rules that cannot be loaded leave
//! those that are, and everything else goes on.

use super::{Look, units};
use crate::verdict::Verdict;

/// A change replaces the rules while they hold: nobody is let in for a moment, and no connection ends.
pub(super) fn plan(look: &Look<'_>) -> Verdict {
    units::reloaded(look, &look.desired.firewall)
}

#[cfg(test)]
#[path = "firewall_tests.rs"]
mod tests;
