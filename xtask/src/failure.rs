//! Why something could not be done.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be done, for a person.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A file or folder cannot be read or written.
    File { path: PathBuf, error: io::Error },
    /// A program cannot be run.
    Program { name: String, error: io::Error },
    /// A program ended badly.
    Ended { name: String, how: String },
    /// A word of the command line that names nothing.
    Unknown { kind: &'static str, name: String, known: String },
    /// An option without its number.
    NoNumber { option: String },
    /// The machine lacks something; how to get it.
    Missing(String),
    /// What a check has found, or why it cannot be made.
    Found(String),
}

impl Failure {
    /// What becomes of an error with this file or folder.
    pub(crate) fn file<P: AsRef<Path>>(path: P) -> impl FnOnce(io::Error) -> Self + use<P> {
        let path = path.as_ref().to_path_buf();
        |error| Self::File { path, error }
    }

    /// What becomes of an error with this program.
    pub(crate) fn program(name: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        |error| Self::Program { name, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Program { name, error } => write!(f, "`{name}` cannot be run: {error}"),
            Self::Ended { name, how } => write!(f, "`{name}` failed: {how}"),
            Self::Unknown { kind, name, known } => write!(f, "there is no {kind} `{name}`; there are {known}"),
            Self::NoNumber { option } => write!(f, "{option} needs a number"),
            Self::Missing(what) | Self::Found(what) => f.write_str(what),
        }
    }
}
