//! The pages: those made of the code are written here; the links of all are checked.

use crate::command;
use crate::count::Count;
use crate::failure::Failure;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

/// Folders without pages of ours.
const SKIPPED: [&str; 4] = ["target", "node_modules", ".git", ".venv"];

/// Writes the generated pages anew.
pub(crate) fn write(workspace: &Workspace) -> Result<(), Failure> {
    let commands: [&[&str]; 4] = [
        &[
            "cargo",
            "run",
            "--quiet",
            "--release",
            "--package",
            "statemesh",
            "--features",
            "kubernetes",
            "--",
            "docs",
            "docs/reference",
        ],
        &["env", "UPDATE_DOCS=1", "cargo", "test", "--quiet", "--package", "statemesh-node", "--test", "metrics"],
        &["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", "tests/oracle"],
        &["node", "tests/oracle/run.mjs", "--no-store"],
    ];
    for words in commands {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        command::plain(workspace, &words)?;
    }
    Ok(())
}

/// Every link and picture of every page that names a file names one that is there. Each page is one test.
pub(crate) fn check_links(workspace: &Workspace) -> Result<Count, Failure> {
    let mut pages = Vec::new();
    collect(&workspace.root, &mut pages)?;
    let mut count = Count::default();
    for page in &pages {
        let text = std::fs::read_to_string(page).map_err(Failure::file(page))?;
        let broken: Vec<_> =
            links(&text).into_iter().filter(|link| !leads_somewhere(page, link, &workspace.root)).collect();
        count = count.plus(Count { passed: u64::from(broken.is_empty()), failed: u64::from(!broken.is_empty()) });
        for link in broken {
            println!("{}: {link} leads nowhere", page.display());
        }
    }
    println!("{} pages", pages.len());
    Ok(count)
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).map_err(Failure::file(&folder))?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !path.is_symlink() && !SKIPPED.contains(&name.as_str()) {
            collect(&path, pages)?;
        } else if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// The targets of `[text](target)` and of `src="target"` or `srcset="target"`, outside code.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block || line.starts_with("    ") {
            continue;
        }
        // Every second piece between back-ticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for start in ["](", "src=\"", "srcset=\""] {
            let end = if start == "](" { ')' } else { '"' };
            found.extend(prose.split(start).skip(1).filter_map(|rest| Some(rest.split_once(end)?.0.to_owned())));
        }
    }
    found
}

fn leads_somewhere(page: &Path, link: &str, root: &Path) -> bool {
    let file = link.split(['#', '?', ' ']).next().unwrap_or_default();
    if file.is_empty() || link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    match file.strip_prefix('/') {
        Some(rest) => root.join(rest).exists(),
        None => page.parent().is_some_and(|folder| folder.join(file).exists()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_prose_and_not_in_code() {
        let page = "a [b](c.md#d) and ![e](f.svg)\n<img src=\"g.svg\">\n`[no](x)`\n```\n[no](y)\n```\n    [no](z)\n";
        assert_eq!(links(page), ["c.md#d", "f.svg", "g.svg"]);
    }

    #[test]
    fn a_missing_file_is_noticed() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (link, there) in [
            ("src/main.rs", true),
            ("src/none.rs", false),
            ("#top", true),
            ("https://a.b/c", true),
            ("/Cargo.toml", true),
        ] {
            assert_eq!(leads_somewhere(&page, link, root), there, "{link}");
        }
    }
}
