//! The chart's values.schema.json and README.md, which helm-values-schema-json and helm-docs make of its values.yaml.

use crate::command;
use crate::count::Count;
use crate::failure::Failure;
use crate::need::Need;
use crate::workspace::Workspace;
use std::path::Path;

const CHART: &str = "k8s/chart";
const MADE: [&str; 2] = ["values.schema.json", "README.md"];

/// What the chart is made and looked at with: helm and the two generators.
pub(crate) const TOOLS: Need = Need::GoTools { folder: "k8s/tools" };

/// Writes the two files anew.
pub(crate) fn write(workspace: &Workspace) -> Result<(), Failure> {
    make(workspace, &workspace.root.join(CHART))
}

/// They are what would be written.
pub(crate) fn check(workspace: &Workspace) -> Result<Count, Failure> {
    let copy = workspace.target.join("chart");
    let words = ["cp", "--recursive", "--no-target-directory", CHART, &copy.display().to_string()];
    command::plain(workspace, &words.map(str::to_owned))?;
    make(workspace, &copy)?;
    let mut count = Count::default();
    for name in MADE {
        let [is, would_be] = [workspace.root.join(CHART), copy.clone()].map(|folder| std::fs::read(folder.join(name)));
        let same = matches!((is, would_be), (Ok(is), Ok(would_be)) if is == would_be);
        if !same {
            println!("{CHART}/{name} is not what `cargo xtask chart` writes");
        }
        count = count.plus(Count { passed: u64::from(same), failed: u64::from(!same) });
    }
    Ok(count)
}

fn make(workspace: &Workspace, chart: &Path) -> Result<(), Failure> {
    let folder = chart.display().to_string();
    let commands: [&[&str]; 2] = [
        &["env", "-C", &folder, "{tools}/bin/helm-values-schema-json"],
        &[
            "{tools}/bin/helm-docs",
            "--chart-search-root",
            &folder,
            "--sort-values-order",
            "file",
            "--log-level",
            "warning",
        ],
    ];
    for words in commands {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        command::plain(workspace, &words)?;
    }
    Ok(())
}
