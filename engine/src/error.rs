//! Why a step was refused. The instance is then as it was, and nothing was put out.

use crate::limits::Limits;
use statemesh_expr::Value;

/// What puts out too much is not only refused as a step: an explanation, a drawing and a simulation are too.
pub(crate) const OUTPUT_BYTES_MAX: &str = "output_bytes_max";

/// A step that was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StepError {
    /// An expression has no value, an action cannot be done or a child failed, and no `onError` handles it: a map with `code` and
    /// `message`, with `expression` and the `values` that it read where it was an expression, and with `child`, a list of ids, where it
    /// was in one.
    #[error("{}", sentence(.0))]
    Failed(Box<Value>),
    /// A bound was exceeded.
    #[error("{limit} exceeded: {message} (the limit is {maximum})")]
    Limit {
        /// Name of the bound in [`crate::Limits`].
        limit: &'static str,
        /// Its value.
        maximum: u64,
        /// What exceeded it.
        message: &'static str,
        /// What was refused, where it was no event.
        during: Option<During>,
    },
    /// The event's or input's bytes are malformed.
    #[error("malformed event: {0}")]
    MalformedEvent(String),
    /// The instance belongs to another machine, or another version of it.
    #[error("the instance does not belong to this machine")]
    WrongMachine,
}

/// What was refused, where it was not an event of an instance that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    /// The start of an instance: there is none.
    Start,
    /// The timer that a stuck instance fired again.
    Retry,
}

impl During {
    const KEY: &str = "during";

    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Retry => "retry",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Start => {
                "there is no instance: `start` one with an `input` that has what the machine's context reads, or change the machine"
            }
            Self::Retry => "the instance is stuck as it was: `skip` drops the timer, `stop` ends the instance",
        }
    }
}

impl StepError {
    /// The same, which keeps what it was that was refused.
    #[cold]
    pub(crate) fn during(mut self, of: During) -> Self {
        match &mut self {
            Self::Failed(error) => {
                if let Value::Map(map) = &mut **error {
                    map.insert(During::KEY, Value::str(of.word()));
                }
            }
            Self::Limit { during, .. } => *during = Some(of),
            Self::MalformedEvent(_) | Self::WrongMachine => {}
        }
        self
    }

    /// A bound that was exceeded by an event.
    #[cold]
    pub(crate) fn limit(limit: &'static str, maximum: u64, message: &'static str) -> Self {
        Self::Limit { limit, maximum, message, during: None }
    }

    /// More would be put out than the limit allows.
    #[cold]
    pub(crate) fn output_too_large(limits: &Limits, message: &'static str) -> Self {
        Self::limit(OUTPUT_BYTES_MAX, limits.output_bytes_max as u64, message)
    }

    /// Stable code; all are listed in docs/reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Failed(_) => "event_failed",
            Self::Limit { limit: OUTPUT_BYTES_MAX, .. } => "output_too_large",
            Self::Limit { .. } => "limit_exceeded",
            Self::MalformedEvent(_) => "malformed_event",
            Self::WrongMachine => "wrong_machine",
        }
    }

    /// How to go on.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Failed(error) => {
                let during = error.get(During::KEY).and_then(Value::as_str);
                let special = [During::Start, During::Retry].into_iter().find(|one| during == Some(one.word()));
                special.map_or(
                    "the instance is as it was; send other values, or give the machine a guard or an `onError`",
                    During::hint,
                )
            }
            Self::Limit { during: Some(During::Retry), .. } => During::Retry.hint(),
            Self::Limit { limit: OUTPUT_BYTES_MAX, during: Some(During::Start), .. } => {
                "there is no instance; change the machine or its `input`, or raise limits.output_bytes of the daemons"
            }
            Self::Limit { during: Some(During::Start), .. } => {
                "there is no instance; change the machine or its `input`: this limit is fixed"
            }
            Self::Limit { limit: OUTPUT_BYTES_MAX, .. } => {
                "the instance is as it was; change the machine or the event, or raise limits.output_bytes of the daemons"
            }
            Self::Limit { .. } => "the instance is as it was; change the machine or the event: this limit is fixed",
            Self::MalformedEvent(_) => "send well-formed JSON or MessagePack",
            Self::WrongMachine => "use the version of the machine that the instance was started with",
        }
    }
}

/// What went wrong for people: the message, the expression, and what it read.
fn sentence(error: &Value) -> String {
    let text = |key| error.get(key).and_then(Value::as_str);
    let Some(mut told) = text("message").map(str::to_owned) else { return format!("the machine failed with {error}") };
    if let Some(expression) = text("expression") {
        told.push_str(", in ");
        told.push_str(expression);
    }
    let values = error.get("values").and_then(Value::as_map);
    let values: Vec<String> =
        values.iter().flat_map(|map| map.iter()).map(|(path, value)| format!("{path} is {value}")).collect();
    if !values.is_empty() {
        told.push_str(&format!(" ({})", values.join(", ")));
    }
    if let Some(child) = error.get("child").and_then(Value::as_list) {
        let path: Vec<_> = child.iter().filter_map(Value::as_str).collect();
        told.push_str(&format!(", in the child {}", path.join(" > ")));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_that_is_a_setting_is_to_be_raised() {
        let hint = |limit| StepError::limit(limit, 1, "").hint();
        assert!(hint(OUTPUT_BYTES_MAX).contains("raise limits.output_bytes"));
        assert!(!hint("microsteps_max").contains("raise") && hint("microsteps_max").contains("fixed"));
    }
}
