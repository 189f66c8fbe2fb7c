//! Where things are, and the words of the table that stand for them.

use std::path::{Path, PathBuf};

/// The checkout and its target folder.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// What is built goes here.
    pub(crate) target: PathBuf,
    /// No developer looks on: what cannot run has failed.
    pub(crate) ci: bool,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub(crate) fn here() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).unwrap_or(Path::new(".")).to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        Self { root, target, ci }
    }

    /// The daemon's released binary.
    pub(crate) fn statemesh(&self) -> PathBuf {
        self.target.join("release/statemesh")
    }

    /// The simulator.
    pub(crate) fn simulator(&self) -> PathBuf {
        self.target.join("debug/statemesh-sim")
    }

    /// The Python of the tests' own environment.
    pub(crate) fn python(&self) -> PathBuf {
        self.target.join("python/bin/python")
    }

    /// Where cargo installs the tools of the tests.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Puts paths in the place of `{target}`, `{statemesh}`, `{simulator}`, `{python}` and `{tools}`.
    pub(crate) fn fill(&self, word: &str) -> String {
        word.replace("{target}", &self.target.display().to_string())
            .replace("{statemesh}", &self.statemesh().display().to_string())
            .replace("{simulator}", &self.simulator().display().to_string())
            .replace("{python}", &self.python().display().to_string())
            .replace("{tools}", &self.tools().display().to_string())
    }
}
