//! One table: figure, ours, the peer's, ratio, target, met or missed.

use std::fmt;

/// The rows so far, and what is to be said below them.
#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 6]>,
    notes: Vec<String>,
}

impl Table {
    /// Ours against a peer: the medians' ratio is what the target is about.
    pub fn compare(&mut self, figure: &str, unit: &str, ours: &[f64], peer: &[f64], target: f64) {
        let (a, b) = (median(ours), median(peer));
        let ratio = a / b;
        self.rows.push([
            figure.to_owned(),
            format!("{} {unit}", number(a)),
            format!("{} {unit}", number(b)),
            format!("{ratio:.3}"),
            format!("ratio <= {target}"),
            verdict(ratio <= target),
        ]);
        if ours.len() > 1 {
            self.note(format!("{figure}: each run: {ours:.2?} against {peer:.2?}"));
        }
    }

    /// Ours beside a peer's, without a target.
    pub fn beside(&mut self, figure: &str, unit: &str, ours: &[f64], peer: &[f64]) {
        let (a, b) = (median(ours), median(peer));
        let shown = [a, b].map(|value| format!("{} {unit}", number(value)));
        let [ours, peer] = shown;
        let row = [figure.to_owned(), ours, peer, format!("{:.3}", a / b)];
        let [figure, ours, peer, ratio] = row;
        self.rows
            .push([figure, ours, peer, ratio, "-".to_owned(), "-".to_owned()]);
    }

    /// The worst of ours against a bound, beside the peer's worst: of a few values that is what p99 is.
    pub fn worst(&mut self, figure: &str, unit: &str, ours: &[f64], peer: &[f64], target: f64) {
        let worst = |of: &[f64]| of.iter().copied().fold(f64::NAN, f64::max);
        let (a, b) = (worst(ours), worst(peer));
        self.rows.push([
            figure.to_owned(),
            format!("{} {unit}", number(a)),
            format!("{} {unit}", number(b)),
            format!("{:.3}", a / b),
            format!("<= {target} {unit}"),
            verdict(a <= target),
        ]);
        self.note(format!("{figure}: each: {ours:.2?} against {peer:.2?}"));
    }

    /// How much more ours is than the peer's, run by run: the median of that against a bound.
    pub fn more(&mut self, figure: &str, unit: &str, ours: &[f64], peer: &[f64], target: f64) {
        let (a, b) = (median(ours), median(peer));
        let more: Vec<_> = ours.iter().zip(peer).map(|(a, b)| a - b).collect();
        let middle = median(&more);
        self.rows.push([
            figure.to_owned(),
            format!("{} {unit}", number(a)),
            format!("{} {unit}", number(b)),
            format!("{middle:+.3}"),
            format!("<= +{target} {unit}"),
            verdict(middle <= target),
        ]);
        self.note(format!("{figure}: more in each run: {more:+.3?}"));
    }

    /// The median of ours against a bound, and each below the table.
    pub fn spread(&mut self, figure: &str, unit: &str, ours: &[f64], target: f64) {
        self.bound(figure, unit, median(ours), target);
        self.note(format!("{figure}: each run: {ours:.2?}"));
    }

    /// Ours against a bound.
    pub fn bound(&mut self, figure: &str, unit: &str, ours: f64, target: f64) {
        self.rows.push([
            figure.to_owned(),
            format!("{} {unit}", number(ours)),
            "-".to_owned(),
            "-".to_owned(),
            format!("<= {target} {unit}"),
            verdict(ours <= target),
        ]);
    }

    /// A figure without a target.
    pub fn tell(&mut self, figure: &str, ours: String) {
        let none = || "-".to_owned();
        self.rows
            .push([figure.to_owned(), ours, none(), none(), none(), none()]);
    }

    /// A line below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["figure", "ours", "peer", "ratio", "target", ""].map(str::to_owned);
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&head]).map(|row| row[column].len());
            cells.max().unwrap_or_default()
        };
        for row in [&head].into_iter().chain(&self.rows) {
            for (column, cell) in row.iter().enumerate().take(5) {
                write!(f, "{cell:<w$}  ", w = width(column))?;
            }
            writeln!(f, "{}", row[5])?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// The middle, or between the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn number(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.1}")
    }
}

fn verdict(met: bool) -> String {
    if met { "met" } else { "MISSED" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_shown_and_a_hit_too() {
        let mut table = Table::default();
        table.compare("slow", "s", &[3.0, 1.0, 2.0], &[2.0], 0.6);
        table.compare("quick", "s", &[1.0], &[2.0, 4.0], 0.6);
        table.bound("small", "MB", 8.0, 8.0);
        table.bound("nothing measured", "MB", f64::NAN, 8.0);
        table.worst("gap", "s", &[0.5, 1.5], &[4.0], 1.0);
        table.more("way", "ms", &[1.1, 1.3, 9.0], &[1.0, 1.0, 1.0], 0.2);
        table.more("long way", "ms", &[1.5], &[1.0], 0.2);
        let text = table.to_string();
        let line = |name: &str| {
            let mut lines = text.lines().filter(|line| line.starts_with(name));
            lines.next().unwrap().to_owned()
        };
        assert!(line("slow ").contains("1.000") && line("slow ").ends_with("MISSED"));
        assert!(line("quick").contains("0.333") && line("quick").ends_with("met"));
        assert!(line("gap").contains("1.500") && line("gap").ends_with("MISSED"));
        assert!(line("way").contains("+0.300") && line("way").ends_with("MISSED"));
        assert!(line("long way").contains("+0.500") && line("long way").ends_with("MISSED"));
        assert!(line("small").ends_with("met"));
        assert!(line("nothing").ends_with("MISSED"));
    }
}
