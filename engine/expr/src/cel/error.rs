//! Why an expression cannot be compiled or has no value.

use crate::decode::{DecodeError, DecodeFault};
use std::fmt;

/// An expression that was refused, where, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at byte {offset}")]
pub struct CompileError {
    /// Byte offset in the source.
    pub offset: usize,
    /// Stable code: `expression_syntax`, `expression_too_long`,
    /// `expression_too_deep`, `expression_too_large`, `unknown_root`,
    /// `unknown_function`, `wrong_type`, `bad_pattern`, `unsupported`.
    pub code: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

impl CompileError {
    pub(crate) fn new(offset: usize, code: &'static str, message: impl Into<String>) -> Self {
        CompileError { offset, code, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An evaluation that has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError {
    fault: EvalFault,
    detail: Option<Box<str>>,
}

/// What went wrong in an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvalFault {
    /// A map has no such key.
    NoSuchKey,
    /// A list has no such index.
    IndexOutOfRange,
    /// An operator or function does not take values of these types.
    NoSuchOverload,
    /// A number does not fit its type.
    Overflow,
    /// Division or remainder by zero.
    DivideByZero,
    /// A value cannot be converted to the type asked for.
    BadConversion,
    /// A regular expression is malformed or too large.
    BadPattern,
    /// A guard's value is not a boolean.
    NotBool,
    /// The event's or input's bytes are malformed.
    BadPayload(DecodeError),
    /// [`crate::Limits::cost`] is used up.
    CostExceeded,
    /// The result exceeds [`crate::Limits::value_bytes`].
    TooLarge,
    /// The result exceeds [`crate::Limits::depth`].
    TooDeep,
    /// The result is of a type that values do not have.
    Unsupported,
    /// The `cel` crate, to which the expression was left, says so.
    Fallback,
}

impl EvalError {
    #[cold]
    pub(crate) fn new(fault: EvalFault) -> EvalError {
        EvalError { fault, detail: None }
    }

    #[cold]
    pub(crate) fn with(fault: EvalFault, detail: impl Into<Box<str>>) -> EvalError {
        EvalError { fault, detail: Some(detail.into()) }
    }

    /// What went wrong.
    pub fn fault(&self) -> EvalFault {
        self.fault
    }

    /// The key, types or text concerned, if any.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self.fault {
            EvalFault::NoSuchKey => "no_such_key",
            EvalFault::IndexOutOfRange => "index_out_of_range",
            EvalFault::NoSuchOverload => "no_such_overload",
            EvalFault::Overflow => "overflow",
            EvalFault::DivideByZero => "divide_by_zero",
            EvalFault::BadConversion => "bad_conversion",
            EvalFault::BadPattern => "bad_pattern",
            EvalFault::NotBool => "not_bool",
            EvalFault::BadPayload(_) => "bad_payload",
            EvalFault::CostExceeded => "cost_exceeded",
            EvalFault::TooLarge => "value_too_large",
            EvalFault::TooDeep => "value_too_deep",
            EvalFault::Unsupported => "unsupported_value",
            EvalFault::Fallback => "expression_failed",
        }
    }

    /// Whether `&&` and `||` must not absorb it: a bound was hit, not a value
    /// missing.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self.fault, EvalFault::CostExceeded | EvalFault::TooLarge | EvalFault::TooDeep)
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its detail is a sentence already.
        if let (EvalFault::NoSuchOverload, Some(sentence)) = (self.fault, &self.detail) {
            return f.write_str(sentence);
        }
        match self.fault {
            EvalFault::NoSuchKey => f.write_str("no such key"),
            EvalFault::IndexOutOfRange => f.write_str("index out of range"),
            EvalFault::NoSuchOverload => f.write_str("no such overload"),
            EvalFault::Overflow => f.write_str("number out of range"),
            EvalFault::DivideByZero => f.write_str("division by zero"),
            EvalFault::BadConversion => f.write_str("cannot be converted"),
            EvalFault::BadPattern => f.write_str("bad regular expression"),
            EvalFault::NotBool => f.write_str("not a boolean"),
            EvalFault::BadPayload(error) => write!(f, "malformed payload: {error}"),
            EvalFault::CostExceeded => f.write_str("the evaluation costs more than the limit"),
            EvalFault::TooLarge => f.write_str("the result is larger than the limit"),
            EvalFault::TooDeep => f.write_str("the result is nested deeper than the limit"),
            EvalFault::Unsupported => f.write_str("the result has no JSON form"),
            EvalFault::Fallback => f.write_str("the expression failed"),
        }?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for EvalError {}

impl From<DecodeError> for EvalError {
    #[cold]
    fn from(error: DecodeError) -> EvalError {
        EvalError::new(match error.what {
            DecodeFault::TooLarge => EvalFault::TooLarge,
            DecodeFault::TooDeep => EvalFault::TooDeep,
            _ => EvalFault::BadPayload(error),
        })
    }
}
