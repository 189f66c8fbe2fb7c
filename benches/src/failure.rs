//! Why a measurement could not be made.

use std::fmt::Display;

/// What failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(pub(crate) String);

/// What a measurement gives.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Says what was being done when an error came.
pub(crate) trait While<T> {
    /// `what` is a noun phrase: "the daemon's log".
    fn while_at(self, what: impl Display) -> Outcome<T>;
}

impl<T, E: Display> While<T> for Result<T, E> {
    fn while_at(self, what: impl Display) -> Outcome<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

/// A failure of its own.
pub(crate) fn failure<T>(what: impl Into<String>) -> Outcome<T> {
    Err(Failure(what.into()))
}
