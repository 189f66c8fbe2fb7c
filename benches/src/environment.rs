//! Where the harness works, and how long it takes its time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::args::Args;
use crate::client::spec;
use crate::failure::{Outcome, While, failure};
use statemesh_load::{Pace, Spec};

/// The folders, and what the command line asked for.
#[derive(Debug)]
pub(crate) struct Environment {
    root: PathBuf,
    target: PathBuf,
    out: PathBuf,
    /// Rounds of each comparison.
    pub(crate) rounds: usize,
    measured: Duration,
    daemon: Option<PathBuf>,
    /// An earlier daemon that is measured beside it.
    pub(crate) before: Option<PathBuf>,
    /// Whether benches/README.md is to be changed.
    pub(crate) record: bool,
    /// How this run was asked for.
    pub(crate) command: String,
}

impl Environment {
    pub(crate) fn new(args: &Args) -> Outcome<Self> {
        let root = match std::env::var_os("CARGO_MANIFEST_DIR") {
            Some(benches) => PathBuf::from(benches).join(".."),
            None => std::env::current_dir().while_at("the current folder")?,
        };
        if !root.join("benches/machines").is_dir() {
            return failure("run it as `cargo xtask bench`, or from the folder that has benches/ in it");
        }
        let own = std::env::current_exe().while_at("this program's path")?;
        let target = own.parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        let out = target.join("bench");
        std::fs::create_dir_all(&out).while_at(out.display())?;
        Ok(Self {
            root,
            target,
            out,
            rounds: args.rounds,
            measured: args.measured,
            daemon: args.daemon.clone(),
            before: args.before.clone(),
            record: args.record,
            command: args.command(),
        })
    }

    /// The project's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where CSV files and compiled peers go.
    pub(crate) fn out(&self) -> &Path {
        &self.out
    }

    /// Where criterion leaves its estimates.
    pub(crate) fn criterion(&self) -> PathBuf {
        self.target.join("criterion")
    }

    /// Peers' sources.
    pub(crate) fn peers(&self) -> PathBuf {
        self.root.join("benches/peers")
    }

    /// Plots, beside the page that shows them.
    pub(crate) fn plots(&self) -> PathBuf {
        self.root.join("benches/plots")
    }

    /// The page with the figures.
    pub(crate) fn page(&self) -> PathBuf {
        self.root.join("benches/README.md")
    }

    /// The harness's own definitions.
    pub(crate) fn machines(&self) -> PathBuf {
        self.root.join("benches/machines")
    }

    /// One of them.
    pub(crate) fn machine(&self, name: &str) -> PathBuf {
        self.machines().join(name).with_extension("json")
    }

    /// A round of this pace.
    pub(crate) fn spec(&self, pace: Pace) -> Spec {
        spec(pace, self.measured / 4, self.measured)
    }

    /// The release build of the daemon, made of the sources as they are now, unless the command line names another.
    pub(crate) fn daemon(&self) -> Outcome<PathBuf> {
        if let Some(given) = &self.daemon {
            return if given.is_file() {
                Ok(given.clone())
            } else {
                failure(format!("{}: no such file", given.display()))
            };
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--release", "--quiet", "--package", "statemesh"]).current_dir(&self.root);
        build.env("CARGO_TARGET_DIR", &self.target);
        let status = build.status().while_at("cargo")?;
        if !status.success() {
            return failure("cargo build --release --package statemesh failed: there is no daemon to measure");
        }
        Ok(self.target.join("release/statemesh"))
    }
}
