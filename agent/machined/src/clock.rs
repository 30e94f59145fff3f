//! The wall clock: what is known of it, and the one time it is set.
//!
//! Certificates are valid from a day to a day, so a node whose clock is behind,
//! as after a boot without a battery, neither trusts nor is trusted. A clock
//! cannot be before what has certainly happened; that much the agent mends by
//! itself, once, at its start. A clock that is ahead looks like any other time: it
//! is known only by another one, that of whoever sends a config.

use crate::ledger::Generation;
use crate::node::clock;
use crate::status::now_ms;

/// Differences up to this are an inexact clock's, not a wrong one's.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A correction made at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// What the clock said.
    pub from_ms: i64,
    /// What it was set to.
    pub to_ms: i64,
}

/// A config's acceptance, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// By this machine's clock.
    pub here_ms: i64,
    /// By the sender's, where it told it.
    pub there_ms: Option<i64>,
}

impl Accepted {
    /// Of a generation.
    pub fn of(generation: &Generation) -> Self {
        Self {
            here_ms: generation.accepted_ms,
            there_ms: generation.sent_ms,
        }
    }

    /// The moment that has passed whichever of the two was right.
    pub fn passed_ms(self) -> i64 {
        self.there_ms
            .map_or(self.here_ms, |there| there.min(self.here_ms))
    }

    // The sender's clock, as long as this one still differs from it as it did then. One that has
    // been set since is on the other side of one of the two.
    fn contradicted(self, now_ms: i64) -> Option<i64> {
        let there = self.there_ms?;
        let ahead = self.here_ms.saturating_sub(there) > DAY_MS;
        let behind = there.saturating_sub(self.here_ms) > DAY_MS;
        let still = (ahead && now_ms > self.here_ms.saturating_sub(DAY_MS))
            || (behind && now_ms < there.saturating_sub(DAY_MS));
        still.then_some(there)
    }
}

/// What is known of the time.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The clock.
    pub now_ms: i64,
    /// The newest generation's time.
    pub newest: Option<Accepted>,
    /// From when until when the machine authority is valid, in seconds.
    pub authority: Option<(i64, i64)>,
    /// What was mended.
    pub raised: Option<Raised>,
    /// Whether a time server has told the time in this boot.
    pub synchronized: bool,
}

/// Why the clock cannot be right, if it cannot.
pub fn wrong(view: &View) -> Option<String> {
    let today = day(view.now_ms);
    if let Some((from, until)) = view.authority {
        let (from_ms, until_ms) = (from.saturating_mul(1000), until.saturating_mul(1000));
        if view.now_ms < from_ms {
            let made = day(from_ms);
            return Some(format!(
                "it says {today}, and the cluster's machine authority was made on {made}"
            ));
        }
        if view.now_ms > until_ms {
            let end = day(until_ms);
            return Some(format!(
                "it says {today}, and the cluster's machine authority expired on {end}: \
                 either the clock is ahead or the authority has to be replaced"
            ));
        }
    }
    let passed = view.newest.map(Accepted::passed_ms);
    if let Some(newest) = passed.filter(|n| n.saturating_sub(DAY_MS) > view.now_ms) {
        let newest = day(newest);
        return Some(format!(
            "it says {today}, and the config in the ledger was accepted on {newest}"
        ));
    }
    let newest = view.newest.filter(|_| !view.synchronized);
    if let Some((newest, there)) = newest.and_then(|n| Some((n, n.contradicted(view.now_ms)?))) {
        return Some(format!(
            "it says {today}; when it said {}, the clock of whoever sent the config in the \
             ledger said {}: one of the two is wrong",
            day(newest.here_ms),
            day(there)
        ));
    }
    let raised = view.raised.filter(|_| !view.synchronized)?;
    Some(format!(
        "it said {} when the agent started and was set to {}, the last time this machine \
         knows of; no time server has confirmed it",
        day(raised.from_ms),
        day(raised.to_ms)
    ))
}

/// What the clock has to be set to, given moments that have certainly passed.
pub fn floor(now_ms: i64, passed: impl IntoIterator<Item = i64>) -> Option<i64> {
    let last = passed.into_iter().max();
    last.filter(|p| p.saturating_sub(DAY_MS) > now_ms)
}

/// Sets a clock that is behind to the last time this machine knows of. The
/// newest generation counts, not the newest time in the ledger: one accepted
/// under a clock that was ahead is outlived by the next.
pub fn raise(newest: Option<Accepted>) -> Result<Option<Raised>, String> {
    let from_ms = now_ms();
    let newest_ms = newest.map(Accepted::passed_ms);
    let passed = newest_ms.into_iter().chain(clock::last_synchronized_ms());
    let Some(to_ms) = floor(from_ms, passed) else {
        return Ok(None);
    };
    clock::set(to_ms).map_err(|e| format!("cannot set the clock to {}: {e}", day(to_ms)))?;
    Ok(Some(Raised { from_ms, to_ms }))
}

/// Whether a certificate made at one moment has to be made anew at another: its
/// time has come, or the clock has been set back to before it begins.
pub fn outdated(made_ms: i64, now_ms: i64, half_life_ms: i64) -> bool {
    now_ms < made_ms - DAY_MS / 24 || now_ms > made_ms.saturating_add(half_life_ms)
}

/// A moment's day, UTC.
pub fn day(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(moment) => moment.strftime("%Y-%m-%d").to_string(),
        // Beyond the year 9999.
        Err(_) => format!("{ms} ms after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_763_700_000_000;
    const YEAR: i64 = 365 * DAY_MS;

    fn here(here_ms: i64) -> Option<Accepted> {
        let there_ms = None;
        Some(Accepted { here_ms, there_ms })
    }

    fn view() -> View {
        View {
            now_ms: NOW,
            newest: here(NOW - YEAR / 2),
            authority: Some(((NOW - YEAR / 2) / 1000, (NOW + 5 * YEAR) / 1000)),
            ..View::default()
        }
    }

    #[test]
    fn days_are_civil_dates() {
        for (ms, expected) in [
            (0, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (NOW, "2025-11-21"),
            (1_735_689_599_999, "2024-12-31"),
            (-1, "1969-12-31"),
            (i64::MAX, "9223372036854775807 ms after 1970"),
        ] {
            assert_eq!(day(ms), expected, "{ms}");
        }
    }

    #[test]
    fn a_clock_is_wrong_where_it_contradicts_what_has_happened() {
        assert_eq!(wrong(&view()), None);
        let at = |now_ms| wrong(&View { now_ms, ..view() }).unwrap_or_default();
        assert!(at(NOW - YEAR).contains("authority was made on"));
        assert!(at(NOW + 6 * YEAR).contains("authority expired on"));
        let newest = here(NOW + YEAR);
        let behind = wrong(&View { newest, ..view() }).unwrap_or_default();
        assert!(behind.contains("accepted on 2026-11-21"), "{behind}");
    }

    #[test]
    fn a_clock_is_wrong_while_it_differs_from_the_senders_as_it_did() {
        // When the config was sent by a right clock, this one was `by` off; now it says `now`.
        let told = |by: i64, now_ms: i64, synchronized: bool| {
            let accepted = Accepted {
                here_ms: NOW + by,
                there_ms: Some(NOW),
            };
            let authority = Some(((NOW - 2 * YEAR) / 1000, (NOW + 8 * YEAR) / 1000));
            wrong(&View {
                now_ms,
                newest: Some(accepted),
                authority,
                raised: None,
                synchronized,
            })
        };
        let ahead = told(YEAR, NOW + YEAR + 1, false).unwrap_or_default();
        for word in ["it says 2026-11-21", "config", "said 2025-11-21"] {
            assert!(ahead.contains(word), "{ahead}");
        }
        let behind = told(-YEAR, NOW - YEAR + 1, false).unwrap_or_default();
        assert!(behind.contains("said 2025-11-21"), "{behind}");
        // Set right since, by hand or by a time server; or the sender's was the wrong one.
        assert_eq!(told(YEAR, NOW + DAY_MS, false), None);
        assert_eq!(told(-YEAR, NOW + DAY_MS, false), None);
        assert_eq!(told(YEAR, NOW + YEAR + 1, true), None);
        // An inexact clock is no wrong one, and nobody's number makes it fall over.
        assert_eq!(told(DAY_MS / 2, NOW + DAY_MS, false), None);
        for there_ms in [i64::MIN, 1, i64::MAX] {
            let here_ms = NOW;
            let there_ms = Some(there_ms);
            let newest = Some(Accepted { here_ms, there_ms });
            assert!(wrong(&View { newest, ..view() }).is_some(), "{there_ms:?}");
        }
    }

    #[test]
    fn what_was_accepted_by_a_clock_that_was_ahead_does_not_move_it_there_again() {
        let accepted = Accepted {
            here_ms: NOW + YEAR,
            there_ms: Some(NOW),
        };
        assert_eq!(floor(NOW, [accepted.passed_ms()]), None);
        // Nor does a sender's that is ahead.
        let accepted = Accepted {
            here_ms: NOW,
            there_ms: Some(NOW + YEAR),
        };
        assert_eq!(floor(NOW, [accepted.passed_ms()]), None);
    }

    #[test]
    fn a_mended_clock_is_named_until_it_is_confirmed() {
        let raised = Some(Raised {
            from_ms: 0,
            to_ms: NOW,
        });
        let told = wrong(&View { raised, ..view() }).unwrap_or_default();
        assert!(
            told.contains("1970-01-01") && told.contains("2025-11-21"),
            "{told}"
        );
        let confirmed = View {
            raised,
            synchronized: true,
            ..view()
        };
        assert_eq!(wrong(&confirmed), None);
    }

    #[test]
    fn a_clock_is_only_ever_raised_and_never_for_little() {
        assert_eq!(floor(NOW, [NOW - YEAR, NOW + DAY_MS]), None);
        assert_eq!(floor(NOW - YEAR, [0, NOW]), Some(NOW));
        assert_eq!(floor(NOW + YEAR, [NOW]), None);
        assert_eq!(floor(NOW, []), None);
    }

    #[test]
    fn a_certificate_is_made_anew_when_the_clock_comes_back() {
        let half = 12 * 60 * 60 * 1000;
        assert!(!outdated(NOW, NOW + half, half));
        assert!(outdated(NOW, NOW + half + 1, half));
        assert!(outdated(NOW + YEAR, NOW, half));
        assert!(outdated(NOW - YEAR, NOW, half));
    }
}
