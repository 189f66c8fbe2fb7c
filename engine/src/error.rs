//! Why a step was refused. The instance is then as it was, and nothing was put out.

/// A step that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A bound was exceeded.
    #[error("{limit} exceeded: {message} (the limit is {maximum})")]
    Limit {
        /// Name of the bound in [`crate::Limits`].
        limit: &'static str,
        /// Its value.
        maximum: u64,
        /// What exceeded it.
        message: &'static str,
    },
    /// The event's or input's bytes are malformed.
    #[error("malformed event: {0}")]
    MalformedEvent(String),
    /// The instance belongs to another machine, or another version of it.
    #[error("the instance does not belong to this machine")]
    WrongMachine,
}

impl StepError {
    /// Stable code; all are listed in docs/reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Limit { .. } => "limit_exceeded",
            Self::MalformedEvent(_) => "malformed_event",
            Self::WrongMachine => "wrong_machine",
        }
    }

    /// How to go on.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Limit { .. } => "the instance is as it was; change the machine or the event, or raise the limit",
            Self::MalformedEvent(_) => "send well-formed JSON or MessagePack",
            Self::WrongMachine => "use the version of the machine that the instance was started with",
        }
    }
}
