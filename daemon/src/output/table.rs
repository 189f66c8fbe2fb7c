//! Tables for a person: columns as wide as their widest cell, and words with a meaning in colour.

use super::control::printable;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// What a cell means; colour shows it, and is never the only thing that does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// Nothing in particular.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// As it should be.
    Good,
    /// To be looked at.
    Doubtful,
    /// Wrong.
    Bad,
    /// Less important than the rest.
    Faint,
}

/// Stands before each of our own sequences until they are written: names hold escape sequences too, and none holds a number that this
/// process alone knows.
static MARK: LazyLock<String> = LazyLock::new(|| format!("\x1b{:016x}", RandomState::new().hash_one(0)));

impl Style {
    /// Every sequence that is ever written: the end of a style first.
    const SEQUENCES: [&str; 6] = ["\x1b[0m", "\x1b[1m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[2m"];

    /// `text` between this style's escape sequences, as they are before they are written.
    pub(crate) fn paint(self, text: &str) -> String {
        let [end, strong, good, doubtful, bad, faint] = Self::SEQUENCES;
        let begin = match self {
            _ if text.is_empty() => return String::new(),
            Style::Plain => return text.to_owned(),
            Style::Strong => strong,
            Style::Good => good,
            Style::Doubtful => doubtful,
            Style::Bad => bad,
            Style::Faint => faint,
        };
        let mark = MARK.as_str();
        format!("{mark}{begin}{text}{mark}{end}")
    }

    /// The sequence of a style that `text` begins with, and what comes after it.
    pub(super) fn sequence(text: &str) -> Option<(&'static str, &str)> {
        let text = text.strip_prefix(MARK.as_str())?;
        Self::SEQUENCES.iter().find_map(|sequence| Some((*sequence, text.strip_prefix(sequence)?)))
    }

    /// The style of a word that says how something is: a member's or an instance's status.
    pub(crate) fn of_status(word: &str) -> Style {
        match word {
            "alive" | "active" | "ready" | "done" => Style::Good,
            "suspect" | "leaving" | "stopped" | "left" => Style::Doubtful,
            "dead" | "error" | "lost" => Style::Bad,
            _ => Style::Plain,
        }
    }
}

/// Rows of cells under a heading.
#[derive(Debug, Default)]
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<(String, Style)>>,
    /// Printed instead of a table without rows.
    nothing: String,
}

impl Table {
    /// A table with these columns; none: a list of names and values without a heading.
    pub(crate) fn new<const N: usize>(heading: [&str; N]) -> Table {
        Table { heading: heading.iter().map(|name| (*name).to_owned()).collect(), ..Table::default() }
    }

    /// What is printed if there is no row.
    pub(crate) fn or(mut self, nothing: &str) -> Table {
        nothing.clone_into(&mut self.nothing);
        self
    }

    /// Adds a row of plain cells.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.styled(cells.map(|cell| (cell, Style::Plain)));
    }

    /// Adds a row.
    pub(crate) fn styled<const N: usize>(&mut self, cells: [(String, Style); N]) {
        self.rows.push(cells.into_iter().map(|(text, style)| (printable(&text), style)).collect());
    }

    /// The table as text.
    pub(crate) fn render(&self, colour: bool) -> String {
        if self.rows.is_empty() && !self.nothing.is_empty() {
            return format!("{}\n", self.nothing);
        }
        let heading: Vec<_> = self.heading.iter().map(|name| (name.clone(), Style::Strong)).collect();
        let rows: Vec<_> = [heading].iter().filter(|row| !row.is_empty()).chain(&self.rows).cloned().collect();
        let widths = widths(&rows);
        rows.iter().map(|row| line(row, &widths, colour)).collect()
    }
}

fn widths(rows: &[Vec<(String, Style)>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count()).max();
    (0..columns).map(|column| width(column).unwrap_or(0)).collect()
}

fn line(row: &[(String, Style)], widths: &[usize], colour: bool) -> String {
    const GAP: usize = 2;
    let mut line = String::new();
    for (index, ((text, style), width)) in row.iter().zip(widths).enumerate() {
        line.push_str(&if colour { style.paint(text) } else { text.clone() });
        if index + 1 < row.len() {
            let pad = GAP + width - text.chars().count();
            line.extend(std::iter::repeat_n(' ', pad));
        }
    }
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::control::shown;
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let mut table = Table::new(["NAME", "STATUS"]);
        table.row(["a".into(), "alive".into()]);
        table.row(["longer".into(), String::new()]);
        assert_eq!(table.render(false), "NAME    STATUS\na       alive\nlonger\n");
    }

    #[test]
    fn colour_does_not_move_columns() {
        let mut table = Table::new(["A", "B"]);
        table.styled([("x".into(), Style::Good), ("y".into(), Style::Plain)]);
        assert_eq!(shown(&table.render(true)), "\x1b[1mA\x1b[0m  \x1b[1mB\x1b[0m\n\x1b[32mx\x1b[0m  y\n");
    }

    #[test]
    fn control_characters_of_a_key_do_not_reach_the_terminal() {
        let mut table = Table::new([]);
        table.row(["a\x1b[2Jb\n".into()]);
        assert!(!table.render(false).trim_end().contains(char::is_control));
    }

    #[test]
    fn an_empty_table_says_what_is_missing() {
        assert_eq!(Table::new(["A"]).or("no machine is defined").render(false), "no machine is defined\n");
    }
}
