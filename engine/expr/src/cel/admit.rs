//! What an expression gives has to be a value that could also be read: no heavier, and nested no deeper.

use super::error::{EvalError, EvalFault};
use crate::limits::Limits;
use crate::value::Value;

impl Limits {
    /// Refuses a computed value that is over a limit.
    pub(crate) fn admit(&self, value: Value) -> Result<Value, EvalError> {
        if value.weight() > self.value_bytes {
            return Err(EvalError::new(EvalFault::TooLarge));
        }
        if value.depth() as usize > self.capped_depth() {
            return Err(EvalError::new(EvalFault::TooDeep));
        }
        Ok(value)
    }
}
