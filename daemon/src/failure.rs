//! How a verb ends when it cannot do what was asked: an exit code, what is wrong, and the way out.

use serde_json::json;
use statemesh_client::ErrorCode;
use std::fmt;

/// Exit codes; `docs/reference/exit-codes.md` is made of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// The answer is an error.
    Refused = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No daemon answered.
    Unreachable = 3,
    /// A daemon could not start.
    Start = 4,
    /// A file could not be read or written.
    File = 5,
    /// The event was sent, and the instance took no notice of it.
    Ignored = 6,
    /// What was waited for has not come about.
    Unreached = 7,
}

/// What a process returns that a signal cut off before it was done: as a shell reports it.
pub(crate) const INTERRUPTED: i32 = 130;

impl Exit {
    /// Every code with its meaning.
    pub(crate) const ALL: [(Exit, &'static str); 8] = [
        (Exit::Ok, "Done. A daemon that was asked to end and left the mesh; `check` found no error."),
        (
            Exit::Refused,
            "What was asked was not done, or what was looked at is not as it should be. The mesh, or the API server of Kubernetes, answered with an \
             error reply; a definition has an error (with `check --strict` a warning); `simulate` refused an event (with `--batch` the lines alone say \
             so), its machine ended in error, or `--expect` found a difference; `export` left something out, `import` could not; `doctor` found \
             something wrong; `bench` counted errors, or events that were lost or doubled, or moved nothing; a file or key that would be made is there \
             already.",
        ),
        (
            Exit::Usage,
            "The command line, an environment variable or the configuration file is wrong. Nothing was done.",
        ),
        (
            Exit::Unreachable,
            "No daemon, or no API server of Kubernetes, answered at the address within the timeout. What was asked may or may not have been done.",
        ),
        (
            Exit::Start,
            "A daemon could not start, for example because a port is in use. Of `up`: one ended while the mesh came up, or the last one that was left \
             ended by itself. While others go on, one that ends is told on stderr, and Ctrl-C makes it 0.",
        ),
        (Exit::File, "A file could not be read or written."),
        (
            Exit::Ignored,
            "`send` brought its event to the instance, and nothing reacted to it (`handled` is false): no state that it is in has a transition for the \
             event, a guard said no, or it has ended or is stuck.",
        ),
        (
            Exit::Unreached,
            "What `--until-state`, `--until-tag` or `--until-done` waits for has not come about `--within` its time, or cannot any more: the instance has ended \
             elsewhere, is stuck, is gone, or is not there at all, or another one began.",
        ),
    ];

    /// What the process returns.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// Why a verb could not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// A stable word for programs.
    pub(crate) code: String,
    /// What is wrong, and where.
    pub(crate) message: String,
    /// How to go on.
    pub(crate) hint: Option<String>,
    /// The code of an error reply, if this version knows it.
    pub(crate) reply: Option<ErrorCode>,
    /// What is wrong in a definition, as the daemon says it.
    pub(crate) diagnostics: Vec<serde_json::Value>,
}

impl Failure {
    /// A failure with a stable code.
    pub(crate) fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure { exit, code: code.into(), message: message.into(), hint: None, reply: None, diagnostics: Vec::new() }
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, "usage", message)
    }

    /// A file could not be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Failure {
        Failure::new(Exit::File, "file", format!("{}: {error}", path.display()))
    }

    /// All that is wrong in one place; a single failure stays as it is.
    pub(crate) fn all(what: &str, mut failures: Vec<Failure>) -> Result<(), Failure> {
        if failures.len() < 2 {
            return failures.pop().map_or(Ok(()), Err);
        }
        let told: String =
            failures.iter().map(|failure| format!("\n  {}", failure.to_string().replace('\n', "\n  "))).collect();
        let diagnostics = failures.iter().map(|failure| json!({"message": failure.message, "hint": failure.hint}));
        let mut all = Failure::usage(format!("{} {what}:{told}", failures.len()));
        all.diagnostics = diagnostics.collect();
        Err(all)
    }

    /// Nothing more to say: what is wrong was already printed.
    pub(crate) fn silent(exit: Exit) -> Failure {
        Failure::new(exit, "", "")
    }

    /// Adds how to go on.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  {hint}"))
    }
}
