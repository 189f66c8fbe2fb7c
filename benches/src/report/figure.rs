//! A figure: its name, what it should be, what it is, and whether that will do.

use std::fmt;

/// Whether a figure is what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is.
    Pass,
    /// It is not.
    Miss,
    /// It could not be measured.
    NotMeasured,
    /// There is no target; it is for comparison.
    Info,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Pass => "pass",
            Verdict::Miss => "**miss**",
            Verdict::NotMeasured => "not measured",
            Verdict::Info => "",
        })
    }
}

/// One line of the table of figures.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// Unique; a later run replaces the line of this name.
    pub(crate) name: String,
    /// What it should be.
    pub(crate) target: String,
    /// What was measured.
    pub(crate) measured: String,
    /// Whether that will do.
    pub(crate) verdict: Verdict,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A quotient.
    Times,
    /// Events a second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Hundredths.
    Percent,
    /// Megabytes of 2^20 bytes.
    Megabytes,
    /// Nanoseconds.
    Nanos,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// The number with its unit, in three significant digits or so.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Unit::Times if value < 10.0 => format!("{value:.2} times"),
            Unit::Times => format!("{} times", thousands(value)),
            Unit::PerSecond => format!("{}/s", thousands(value)),
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Percent => format!("{value:.2} %"),
            Unit::Megabytes => format!("{value:.1} MB"),
            Unit::Nanos if value < 100.0 => format!("{value:.1} ns"),
            Unit::Bytes => format!("{} bytes", thousands(value)),
            Unit::Nanos => format!("{} ns", thousands(value)),
        }
    }
}

impl Figure {
    /// It must not exceed `limit`.
    pub(crate) fn at_most(name: &str, limit: f64, value: f64, unit: Unit) -> Self {
        Self::judged(name, format!("at most {}", unit.show(limit)), value <= limit, unit.show(value))
    }

    /// It must be below `limit`.
    pub(crate) fn below(name: &str, limit: f64, value: f64, unit: Unit) -> Self {
        Self::judged(name, format!("below {}", unit.show(limit)), value < limit, unit.show(value))
    }

    /// It must reach `limit`.
    pub(crate) fn at_least(name: &str, limit: f64, value: f64, unit: Unit) -> Self {
        Self::judged(name, format!("at least {}", unit.show(limit)), value >= limit, unit.show(value))
    }

    /// A figure without a target.
    pub(crate) fn info(name: &str, value: f64, unit: Unit) -> Self {
        Self { name: name.to_owned(), target: "-".to_owned(), measured: unit.show(value), verdict: Verdict::Info }
    }

    /// A figure that could not be measured, and why.
    pub(crate) fn not_measured(name: &str, why: &str) -> Self {
        let measured = why.replace(['\n', '|'], " ");
        Self { name: name.to_owned(), target: "-".to_owned(), measured, verdict: Verdict::NotMeasured }
    }

    fn judged(name: &str, target: String, good: bool, measured: String) -> Self {
        // A value that is no number compares as false, and so is a miss.
        let verdict = if good { Verdict::Pass } else { Verdict::Miss };
        Self { name: name.to_owned(), target, measured, verdict }
    }
}

/// A whole number with its thousands apart.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_at_its_limit_passes_and_nonsense_does_not() {
        assert_eq!(Figure::at_most("f", 1.15, 1.15, Unit::Times).verdict, Verdict::Pass);
        assert_eq!(Figure::below("f", 1.0, 1.0, Unit::Percent).verdict, Verdict::Miss);
        assert_eq!(Figure::at_least("f", 500_000.0, 499_999.0, Unit::PerSecond).verdict, Verdict::Miss);
        assert_eq!(Figure::at_most("f", 1.15, f64::NAN, Unit::Times).verdict, Verdict::Miss);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(Unit::PerSecond.show(1_234_567.8), "1,234,568/s");
        assert_eq!(Unit::PerSecond.show(999.0), "999/s");
        assert_eq!(Unit::Nanos.show(31.44), "31.4 ns");
        assert_eq!(Unit::Times.show(1.1499), "1.15 times");
        assert_eq!(Unit::Times.show(243.2), "243 times");
    }
}
