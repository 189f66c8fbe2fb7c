//! Markdown tables, columns aligned so that the source can be read too.

/// A table: its head, then its rows; columns after the first are numbers and so to the right.
pub(crate) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head.get(column).map_or(0, |cell| cell.chars().count()), 3]).max().unwrap_or(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let rule = widths.iter().enumerate().map(|(i, width)| match i {
        0 => "-".repeat(*width),
        _ => "-".repeat(width - 1) + ":",
    });
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut lines = vec![line(&head, &widths), line(&rule.collect::<Vec<_>>(), &widths)];
    lines.extend(rows.iter().map(|row| line(row, &widths)));
    lines.join("\n") + "\n"
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).enumerate().map(|(i, (cell, &width))| match i {
        0 => format!(" {cell:<width$} |"),
        _ => format!(" {cell:>width$} |"),
    });
    padded.fold("|".to_owned(), |line, cell| line + &cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_right() {
        let rows = [vec!["echo".to_owned(), "9.5".to_owned()], vec!["a daemon".to_owned(), "10.25".to_owned()]];
        let expected = "| who      |    us |\n| -------- | ----: |\n| echo     |   9.5 |\n| a daemon | 10.25 |\n";
        assert_eq!(markdown(&["who", "us"], &rows), expected);
    }
}
