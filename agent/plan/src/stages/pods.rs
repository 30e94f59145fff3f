//! Static pods. A manifest is written when it should be there and never taken
//! away because something does not answer.

use super::{Look, writes};
use crate::verdict::Verdict;

pub(super) fn control_plane(look: &Look<'_>) -> Verdict {
    Verdict::act(writes(look.observed, &look.desired.api_server))
}

pub(super) fn controllers(look: &Look<'_>) -> Verdict {
    Verdict::act(writes(look.observed, &look.desired.controllers))
}
