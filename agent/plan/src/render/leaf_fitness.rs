//! Whether the leaf that is there still is the one that should be.

use std::fmt::Display;

use machine_pki::leaf::Lifetime;
use machine_pki::{CertificateFacts, LeafRequest};

use super::leaves::Leaf;

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

/// Why a leaf must be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is an authority's certificate.
    IsAuthority,
    /// Its CN is another.
    CommonName {
        /// The one it has.
        found: String,
    },
    /// Its O values are others, and so are its rights.
    Organizations {
        /// The ones it has.
        found: Vec<String>,
    },
    /// It is for something else.
    Usage,
    /// Names or addresses are missing from it.
    Names {
        /// What is missing.
        missing: Vec<String>,
    },
    /// It is no longer valid.
    Expired,
    /// Its time for renewal has come.
    Renewal,
    /// It becomes valid only in the future: the clock was, or is, wrong.
    Clock,
}

impl Leaf {
    /// Whether the certificate that is there is still right; `now` in Unix seconds.
    ///
    /// Names and addresses that it has beyond the wanted ones do no harm: an address that comes
    /// and goes is no reason to make a new one each time. Whether its key is beside it and the
    /// wanted authority signed it takes the files, so the observation says it.
    ///
    /// # Errors
    /// The first reason to make it anew.
    pub fn wanted(&self, found: &CertificateFacts, now: i64) -> Result<(), Why> {
        fits(&self.request, found)?;
        lives(&self.request, found, now)
    }
}

fn fits(wanted: &LeafRequest, found: &CertificateFacts) -> Result<(), Why> {
    if found.is_ca {
        return Err(Why::IsAuthority);
    }
    if found.common_name != wanted.common_name {
        return Err(Why::CommonName {
            found: found.common_name.clone(),
        });
    }
    if found.organizations != wanted.organizations {
        return Err(Why::Organizations {
            found: found.organizations.clone(),
        });
    }
    if found.usage != Some(wanted.usage) {
        return Err(Why::Usage);
    }
    let names = wanted.dns.difference(&found.dns).cloned();
    let addresses = wanted.ips.difference(&found.ips).map(ToString::to_string);
    let missing: Vec<String> = names.chain(addresses).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Why::Names { missing })
    }
}

fn lives(wanted: &LeafRequest, found: &CertificateFacts, now: i64) -> Result<(), Why> {
    let CertificateFacts {
        not_before,
        not_after,
        ..
    } = *found;
    if now >= not_after {
        return Err(Why::Expired);
    }
    // Up to a day may be a machine that starts with a slow clock and will soon know better.
    if not_before > now.saturating_add(DAY) {
        return Err(Why::Clock);
    }
    let life = not_after.saturating_sub(not_before);
    let asked = i64::try_from(wanted.lifetime.as_secs()).unwrap_or(i64::MAX);
    // Its authority ends sooner than the leaf should, and so would every new one: making those
    // at two thirds of ever less time would not end.
    if life < asked.saturating_sub(HOUR.min(asked / 10)) {
        return Ok(());
    }
    let since = not_before.saturating_add(renewal_after(life, wanted));
    if now >= since {
        Err(Why::Renewal)
    } else {
        Ok(())
    }
}

/// Leaves of a day at half, so that an outage of twelve hours is survived; leaves of a year at two
/// thirds, which leaves four months.
fn renewal_after(life: i64, wanted: &LeafRequest) -> i64 {
    if wanted.lifetime <= Lifetime::MACHINE_API {
        life / 2
    } else {
        life / 3 * 2
    }
}

impl Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::IsAuthority => write!(f, "it is an authority's certificate"),
            Self::CommonName { found } => write!(f, "its common name is \"{found}\""),
            Self::Organizations { found } if found.is_empty() => write!(f, "it names no group"),
            Self::Organizations { found } => write!(f, "it names the group {}", found.join(", ")),
            Self::Usage => write!(f, "it is not for the wanted use (server, client or both)"),
            Self::Names { missing } => write!(f, "it does not name {}", missing.join(", ")),
            Self::Expired => write!(f, "it expired"),
            Self::Renewal => write!(f, "its renewal is due"),
            Self::Clock => write!(
                f,
                "it begins in the future: the clock was wrong when it was made, or is now"
            ),
        }
    }
}

#[cfg(test)]
#[path = "leaf_fitness_tests.rs"]
mod tests;
