//! Durations as people type them, times as tables show them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The longest duration that anything here may take; more is a slip of the finger.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads `90s`, `5m`, `1h30m`, `7d`, or a bare number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let read = || -> Option<Duration> {
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        if let Some(Ok(days)) = text.strip_suffix('d').map(str::parse::<u64>) {
            return days.checked_mul(24 * 3600).map(Duration::from_secs);
        }
        let signed: SignedDuration = text.parse().ok()?;
        Duration::try_from(signed).ok()
    };
    let told = || format!("`{text}` is not a duration such as 90s, 5m or 1h30m");
    read().filter(|read| *read <= LONGEST).ok_or_else(told)
}

/// Reads how long to wait: no time at all is no wait.
pub fn patience(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than that".to_owned()),
        read => Ok(read),
    }
}

/// Reads how long a certificate lives: one of less than a minute is over before it is used.
pub fn lifetime(text: &str) -> Result<Duration, String> {
    let read = duration(text)?;
    match read < Duration::from_secs(60) {
        true => Err(format!("`{text}` is less than a minute")),
        false => Ok(read),
    }
}

/// Reads a moment in milliseconds since the epoch: RFC 3339, or a duration before `now`.
pub fn since(text: &str, now: Timestamp) -> Result<i64, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.as_millisecond());
    }
    let ago = duration(text)
        .map_err(|_| format!("`{text}` is neither a duration such as 10m nor an RFC 3339 time"))?;
    let ago = SignedDuration::try_from(ago).map_err(|_| format!("`{text}` is too long ago"))?;
    let moment = now
        .checked_sub(ago)
        .map_err(|_| format!("`{text}` is too long ago"))?;
    Ok(moment.as_millisecond().max(1))
}

/// A moment as tables show it: UTC, whole seconds. Empty for 0, which means none.
pub fn shown(millis: i64) -> String {
    if millis == 0 {
        return String::new();
    }
    match Timestamp::from_millisecond(millis) {
        Ok(moment) => moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => "unknown".into(),
    }
}

/// A span as progress shows it.
pub fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5400),
            ("7d", 604_800),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "five",
            "-5m",
            "5 parsecs",
            "99999999999999999999",
            "9999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(lifetime("0s").is_err() && lifetime("59").is_err());
        assert_eq!(lifetime("1m"), Ok(Duration::from_secs(60)));
    }

    #[test]
    fn moments() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        assert_eq!(since("10m", now), since("2026-01-01T00:00:00Z", now));
        assert!(since("yesterday-ish", now).is_err());
        assert_eq!(shown(now.as_millisecond()), "2026-01-01T00:10:00Z");
        assert_eq!(shown(0), "");
        assert_eq!(span(Duration::from_secs(3700)), "1h01m");
    }
}
