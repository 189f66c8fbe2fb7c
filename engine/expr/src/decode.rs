//! Why bytes are not a value.

use std::fmt;

/// Bytes that could not be read, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct DecodeError {
    /// Byte offset in the input at which reading stopped.
    pub offset: usize,
    /// What is wrong there.
    pub what: DecodeFault,
}

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeFault {
    /// The input ends inside a value, or a length says more than there is.
    Truncated,
    /// Bytes follow the value.
    Trailing,
    /// A byte that cannot begin or continue a value here.
    Unexpected,
    /// The value is of another type than the caller asked for.
    WrongType,
    /// A string is not UTF-8, or has a bad escape or a raw control character.
    BadString,
    /// Not a number as JSON writes it, or one outside the type's range.
    BadNumber,
    /// A map key that is not a string.
    KeyNotString,
    /// A MessagePack extension other than the timestamp.
    UnknownExtension,
    /// More nested levels than [`crate::Limits::depth`].
    TooDeep,
    /// More than [`crate::Limits::value_bytes`].
    TooLarge,
}

impl DecodeFault {
    /// Stable code for programs.
    pub fn code(self) -> &'static str {
        match self {
            DecodeFault::Truncated => "truncated",
            DecodeFault::Trailing => "trailing_bytes",
            DecodeFault::Unexpected => "unexpected_byte",
            DecodeFault::WrongType => "wrong_type",
            DecodeFault::BadString => "bad_string",
            DecodeFault::BadNumber => "bad_number",
            DecodeFault::KeyNotString => "key_not_string",
            DecodeFault::UnknownExtension => "unknown_extension",
            DecodeFault::TooDeep => "too_deep",
            DecodeFault::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for DecodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeFault::Truncated => "the input ends inside a value",
            DecodeFault::Trailing => "there are bytes after the value",
            DecodeFault::Unexpected => "a byte that does not belong here",
            DecodeFault::WrongType => "a value of another type",
            DecodeFault::BadString => "a string that is not valid text",
            DecodeFault::BadNumber => "not a valid number",
            DecodeFault::KeyNotString => "a map key that is not a string",
            DecodeFault::UnknownExtension => "an unknown MessagePack extension",
            DecodeFault::TooDeep => "nested too deeply",
            DecodeFault::TooLarge => "larger than the limit",
        })
    }
}
