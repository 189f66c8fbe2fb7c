//! The simulator, built and run.

use crate::command;
use crate::failure::Failure;
use crate::workspace::Workspace;

/// Builds it. An example beside it, so that cargo unites the features of all crates as it does for their tests.
pub(crate) const BUILD: [&str; 10] = [
    "cargo",
    "build",
    "--quiet",
    "--workspace",
    "--features",
    "statemesh/kubernetes",
    "--bin",
    "statemesh-sim",
    "--example",
    "simulate_batch",
];

/// `cargo xtask sim`: builds it, and runs it with these words.
pub(crate) fn run(workspace: &Workspace, words: &[String]) -> Result<(), Failure> {
    command::plain(workspace, &BUILD.map(str::to_owned))?;
    let simulator = "{simulator}".to_owned();
    command::plain(workspace, &[&[simulator], words].concat())
}
