//! benches/README.md: one table with every figure, and a section for each scenario, each between markers of its own.
//! Everything outside the markers is written by people and stays as it is.

use crate::report::figure::Figure;
use crate::report::table;

const HEAD: [&str; 5] = ["figure", "target", "measured", "", "date"];
const FIGURES: &str = "figures";

/// Replaces what is between a section's markers; a section that has none comes to the end.
pub(crate) fn replace(page: &str, section: &str, body: &str) -> String {
    let (begin, end) = markers(section);
    let body = body.trim();
    match parts(page, section) {
        Some((before, _, after)) => format!("{before}{begin}\n{body}\n{end}{after}"),
        None => format!("{}\n\n{begin}\n{body}\n{end}\n", page.trim_end()),
    }
}

/// Puts figures into the table of all figures: a name that is there already has its line replaced, others come last.
pub(crate) fn merge(page: &str, figures: &[Figure], date: &str) -> String {
    let old = parts(page, FIGURES).map_or("", |(_, body, _)| body);
    let mut rows: Vec<Vec<String>> =
        old.lines().skip_while(|line| !line.starts_with("| -")).skip(1).map(cells).collect();
    for figure in figures {
        let columns = [&figure.name, &figure.target, &figure.measured, &figure.verdict.to_string(), date];
        let row = columns.map(str::to_owned).to_vec();
        match rows.iter_mut().find(|old| old.first() == Some(&figure.name)) {
            Some(old) => *old = row,
            None => rows.push(row),
        }
    }
    replace(page, FIGURES, &table::markdown(&HEAD, &rows))
}

fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn markers(section: &str) -> (String, String) {
    (format!("<!-- {section}: written by the harness -->"), format!("<!-- end of {section} -->"))
}

/// What is before, between and after the markers.
fn parts<'a>(page: &'a str, section: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (begin, end) = markers(section);
    let (before, rest) = page.split_once(&begin)?;
    let (body, after) = rest.split_once(&end)?;
    Some((before, body.trim(), after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::Unit;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = replace("# Title\n\nWords.\n", "rtt", "first");
        let page = replace(&(page + "\nMore words.\n"), "rtt", "second");
        assert!(page.starts_with("# Title\n\nWords.\n") && page.ends_with("\nMore words.\n"));
        assert!(page.contains("second") && !page.contains("first"));
    }

    #[test]
    fn a_figure_replaces_its_own_line_and_leaves_the_others() {
        let first = Figure::at_most("a", 2.0, 1.0, Unit::Seconds);
        let other = Figure::at_most("b", 2.0, 3.0, Unit::Seconds);
        let page = merge("", &[first, other], "2026-01-01");
        let page = merge(&page, &[Figure::at_most("a", 2.0, 1.5, Unit::Seconds)], "2026-01-02");
        let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("| a") || line.starts_with("| b")).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("1.50 s") && lines[0].contains("2026-01-02") && lines[0].contains("pass"));
        assert!(lines[1].contains("3.00 s") && lines[1].contains("2026-01-01") && lines[1].contains("**miss**"));
    }
}
