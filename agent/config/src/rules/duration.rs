//! Durations as Go writes them.

use std::time::Duration;

const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// Go's `time.ParseDuration`, without a sign: numbers with units, or a bare 0.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() && rest != "0" {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let digits = &rest[..rest.len() - number.len()];
        let fitting = UNITS.iter().filter(|(unit, _)| number.starts_with(unit));
        let (unit, worth) = fitting.max_by_key(|(unit, _)| unit.len())?;
        seconds += digits.parse::<f64>().ok()? * worth;
        rest = &number[unit.len()..];
    }
    if text.is_empty() {
        return None;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("4m0s", 240_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "10x", "1d", "-5s", "1h30", "..s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
