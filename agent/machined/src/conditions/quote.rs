//! Which of a log's last lines say why its program ended.

use crate::journal::clipped;

/// Lines of a quotation.
const LINES: usize = 5;

/// The longest line, in characters.
const LONGEST: usize = 300;

/// The last lines; but where a fatal error comes before them, that line and
/// those after it without the stacks of threads.
pub fn quoted(log: &[String]) -> Vec<String> {
    let log: Vec<&String> = log.iter().filter(|line| !line.trim().is_empty()).collect();
    let last = log.len().saturating_sub(LINES);
    let at_fault = log.iter().rposition(|line| fatal(line));
    let from = at_fault.unwrap_or(last).min(last);
    let stack = |line: &&&String| at_fault.is_some() && line.starts_with("goroutine ");
    let lines = log[from..].iter().take_while(|line| !stack(line));
    lines
        .take(LINES)
        .map(|line| clipped(line, LONGEST))
        .collect()
}

// klog's fatal lines begin with F and the date; Go's own with these words.
fn fatal(line: &str) -> bool {
    let klog = |rest: &str| rest.len() > 4 && rest.bytes().take(4).all(|b| b.is_ascii_digit());
    line.strip_prefix('F').is_some_and(klog)
        || ["panic: ", "fatal error: ", "Error: "]
            .iter()
            .any(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn the_last_lines_are_quoted() {
        assert!(quoted(&[]).is_empty());
        assert_eq!(quoted(&log(&["a", "", "b"])), ["a", "b"]);
        let many: Vec<_> = (0..9).map(|n| n.to_string()).collect();
        assert_eq!(quoted(&many), ["4", "5", "6", "7", "8"]);
    }

    #[test]
    fn a_fatal_line_is_not_lost_behind_its_stack() {
        let mut lines = log(&["start", "F1121 07:00:00.0 1 server.go:1] unknown flag: --x"]);
        lines.extend((0..40).map(|n| format!("goroutine {n} [running]:")));
        let quote = quoted(&lines);
        assert!(quote[0].contains("unknown flag: --x"), "{quote:?}");
        assert_eq!(quote.len(), 1, "stacks say nothing: {quote:?}");
        // One among the last lines takes none of them away.
        let near = log(&["1", "2", "3", "panic: x", "5", "6"]);
        assert_eq!(quoted(&near), ["2", "3", "panic: x", "5", "6"]);
    }

    #[test]
    fn lines_are_bounded_and_hold_nothing_that_moves_a_cursor() {
        let quote = quoted(&[format!("\u{1b}[2J{}", "ä".repeat(1000))]);
        assert_eq!(quote[0].chars().count(), 301);
        assert!(!quote[0].contains('\u{1b}'));
    }
}
