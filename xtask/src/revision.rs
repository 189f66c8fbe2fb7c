//! Which code this is, and which day.

use crate::command;
use crate::workspace::Workspace;
use std::process::Command;

/// What is code: everything but pages, so that a result is of the same code when only its page was written since.
const CODE: [&str; 3] = ["--", ".", ":(exclude)*.md"];
/// Behind the commit of code that is not committed.
pub(crate) const CHANGED: &str = "-changed";

/// The last commit that changed code; with [`CHANGED`] behind it if the checkout has other code.
pub(crate) fn code(workspace: &Workspace) -> String {
    let log = [&["git", "log", "-1", "--format=%h", "--abbrev=12"], &CODE[..]].concat();
    let commit = said(workspace, &log).filter(|commit| !commit.is_empty()).unwrap_or_else(|| "unknown".to_owned());
    let diff = [&["git", "diff", "--quiet", "HEAD"], &CODE[..]].concat();
    if said(workspace, &diff).is_some() { commit } else { commit + CHANGED }
}

/// What a command printed; none if it did not end well.
fn said(workspace: &Workspace, words: &[&str]) -> Option<String> {
    let output = command::prepare(workspace, words, &[]).ok()?.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Today, by the calendar of UTC.
pub(crate) fn date() -> String {
    let output = Command::new("date").args(["-u", "+%F"]).output().ok().filter(|output| output.status.success());
    output.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_its_form() {
        let date = date();
        assert!(date.len() == 10 && date.starts_with("20"), "{date}");
    }
}
