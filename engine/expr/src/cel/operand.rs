//! Values while an expression runs: scalars unpacked, lists and maps borrowed
//! or still in their encoded form.

use super::env::Type;
use super::error::{EvalError, EvalFault};
use crate::decode::DecodeError;
use crate::json::{self, JsonKind};
use crate::limits::Limits;
use crate::msgpack::{self, MsgPackKind};
use crate::number::Number;
use crate::payload::Payload;
use crate::time::{Duration, Timestamp};
use crate::value::{Str, Value};
use std::borrow::Cow;

/// A value in an evaluation.
#[derive(Debug, Clone)]
pub(super) enum Operand<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(&'a str),
    Timestamp(Timestamp),
    Duration(Duration),
    Type(Type),
    /// Bytes, a list, a map or a long string that outlives the evaluation: as a
    /// result it is shared, not copied.
    Ref(&'a Value),
    /// A string, bytes, a list or a map made in it.
    Own(Value),
    /// A list or map in JSON, and what follows it.
    Json(&'a [u8]),
    /// A list or map in MessagePack, and what follows it.
    MsgPack(&'a [u8]),
}

impl<'a> Operand<'a> {
    #[inline]
    pub(super) fn of(value: &'a Value) -> Operand<'a> {
        match value {
            Value::Null => Operand::Null,
            Value::Bool(value) => Operand::Bool(*value),
            Value::Int(value) => Operand::Int(*value),
            Value::Uint(value) => Operand::Uint(*value),
            Value::Double(value) => Operand::Double(*value),
            Value::Str(text) if !text.is_heap_allocated() => Operand::Str(text),
            Value::Timestamp(time) => Operand::Timestamp(*time),
            Value::Duration(span) => Operand::Duration(*span),
            Value::Str(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => Operand::Ref(value),
        }
    }

    pub(super) fn own(value: Value) -> Operand<'a> {
        match value {
            Value::Null => Operand::Null,
            Value::Bool(value) => Operand::Bool(value),
            Value::Int(value) => Operand::Int(value),
            Value::Uint(value) => Operand::Uint(value),
            Value::Double(value) => Operand::Double(value),
            Value::Timestamp(time) => Operand::Timestamp(time),
            Value::Duration(span) => Operand::Duration(span),
            other => Operand::Own(other),
        }
    }

    pub(super) fn text(text: impl AsRef<str>) -> Operand<'a> {
        Operand::Own(Value::str(text))
    }

    pub(super) fn payload(payload: Payload<'a>) -> Result<Operand<'a>, DecodeError> {
        match payload {
            Payload::Empty => Ok(Operand::Null),
            Payload::Value(value) => Ok(Operand::of(value)),
            Payload::Json(bytes) => Operand::json(&mut json::Reader::new(bytes), bytes),
            Payload::MsgPack(bytes) => Operand::msgpack(&mut msgpack::Reader::new(bytes)),
        }
    }

    /// The value at the reader over `bytes`.
    pub(super) fn json(reader: &mut json::Reader<'a>, bytes: &'a [u8]) -> Result<Operand<'a>, DecodeError> {
        Ok(match reader.peek()? {
            JsonKind::Null => reader.read_null().map(|()| Operand::Null)?,
            JsonKind::Bool => Operand::Bool(reader.read_bool()?),
            JsonKind::Number => match reader.read_number()? {
                json::Number::Int(value) => Operand::Int(value),
                json::Number::Uint(value) => Operand::Uint(value),
                json::Number::Double(value) => Operand::Double(value),
            },
            JsonKind::Str => match reader.read_str()? {
                Cow::Borrowed(text) => Operand::Str(text),
                Cow::Owned(text) => Operand::text(text),
            },
            JsonKind::List | JsonKind::Map => Operand::Json(bytes.get(reader.offset()..).unwrap_or_default()),
        })
    }

    /// The value at the reader.
    #[inline]
    pub(super) fn msgpack(reader: &mut msgpack::Reader<'a>) -> Result<Operand<'a>, DecodeError> {
        Ok(match reader.peek()? {
            MsgPackKind::Int => {
                let wide = reader.read_integer()?;
                match i64::try_from(wide) {
                    Ok(value) => Operand::Int(value),
                    Err(_) => Operand::Uint(wide as u64),
                }
            }
            MsgPackKind::Str => Operand::Str(reader.read_str()?),
            MsgPackKind::Nil => reader.read_nil().map(|()| Operand::Null)?,
            MsgPackKind::Bool => Operand::Bool(reader.read_bool()?),
            MsgPackKind::Float => Operand::Double(reader.read_f64()?),
            MsgPackKind::Bin => Operand::Own(Value::Bytes(reader.read_bin()?.into())),
            MsgPackKind::Ext => Operand::Timestamp(reader.read_timestamp()?),
            MsgPackKind::List | MsgPackKind::Map => Operand::MsgPack(reader.rest()),
        })
    }

    /// The same, decoded if it was not.
    pub(super) fn decoded(self, limits: &Limits) -> Result<Operand<'a>, DecodeError> {
        match self {
            Operand::Json(bytes) => json::decode(&mut json::Reader::new(bytes), limits).map(Operand::Own),
            Operand::MsgPack(bytes) => msgpack::decode(&mut msgpack::Reader::new(bytes), limits).map(Operand::Own),
            other => Ok(other),
        }
    }

    /// As a value; types have none.
    pub(super) fn into_value(self, limits: &Limits) -> Result<Value, EvalError> {
        Ok(match self {
            Operand::Null => Value::Null,
            Operand::Bool(value) => Value::Bool(value),
            Operand::Int(value) => Value::Int(value),
            Operand::Uint(value) => Value::Uint(value),
            Operand::Double(value) => Value::Double(value),
            Operand::Str(text) => Value::Str(Str::new(text)),
            Operand::Timestamp(time) => Value::Timestamp(time),
            Operand::Duration(span) => Value::Duration(span),
            Operand::Ref(value) => value.clone(),
            Operand::Own(value) => value,
            Operand::Type(_) => return Err(EvalError::with(EvalFault::Unsupported, "type")),
            Operand::Json(_) | Operand::MsgPack(_) => match self.decoded(limits)? {
                Operand::Own(value) => value,
                _ => Value::Null,
            },
        })
    }

    /// The list, map or bytes, if it is one and decoded, or a string made in
    /// the evaluation.
    pub(super) fn compound(&self) -> Option<&Value> {
        match self {
            Operand::Ref(value) => Some(value),
            Operand::Own(value) => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Operand::Str(text) => Some(text),
            Operand::Own(Value::Str(text)) | Operand::Ref(Value::Str(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_bytes(&self) -> Option<&[u8]> {
        match self.compound() {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Operand::Int(value) => Some(Number::Int(*value)),
            Operand::Uint(value) => Some(Number::Uint(*value)),
            Operand::Double(value) => Some(Number::Double(*value)),
            _ => None,
        }
    }

    /// Roughly its bytes, for what is charged.
    pub(super) fn weight(&self) -> usize {
        match self {
            Operand::Str(text) => text.len(),
            Operand::Ref(value) => value.weight(),
            Operand::Own(value) => value.weight(),
            Operand::Json(bytes) | Operand::MsgPack(bytes) => bytes.len(),
            _ => 0,
        }
    }

    pub(super) fn kind(&self) -> Type {
        match self {
            Operand::Null => Type::Null,
            Operand::Bool(_) => Type::Bool,
            Operand::Int(_) => Type::Int,
            Operand::Uint(_) => Type::Uint,
            Operand::Double(_) => Type::Double,
            Operand::Str(_) => Type::Str,
            Operand::Timestamp(_) => Type::Timestamp,
            Operand::Duration(_) => Type::Duration,
            Operand::Type(_) => Type::Type,
            Operand::Ref(value) => kind_of(value),
            Operand::Own(value) => kind_of(value),
            Operand::Json(bytes) => match bytes.first() {
                Some(b'{') => Type::Map,
                _ => Type::List,
            },
            Operand::MsgPack(bytes) => match msgpack::Reader::new(bytes).peek() {
                Ok(MsgPackKind::Map) => Type::Map,
                _ => Type::List,
            },
        }
    }
}

/// The type of `value`.
pub(crate) fn kind_of(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::Str(_) => Type::Str,
        Value::Bytes(_) => Type::Bytes,
        Value::List(_) => Type::List,
        Value::Map(_) => Type::Map,
        Value::Timestamp(_) => Type::Timestamp,
        Value::Duration(_) => Type::Duration,
    }
}

/// What cannot be done with such values, as a sentence: CEL's own form of it, `order(string, int)`, names functions that are not in
/// the expression, and beside a machine called `order` it reads as if it meant that.
#[cold]
pub(super) fn no_overload(name: &str, operands: &[&Operand<'_>]) -> EvalError {
    let kinds: Vec<_> = operands.iter().map(|operand| in_words(operand.kind())).collect();
    let sentence = match (name, kinds.as_slice()) {
        ("order", [a, b]) => format!("{a} and {b} cannot be compared"),
        ("-_", [a]) => format!("{a} cannot be negated"),
        ("_[_]", [of, index]) => format!("{of} has no element at {index}"),
        ("_in_", [item, of]) => format!("{of} cannot be searched for {item}"),
        ("comprehension", [of]) => format!("{of} has no elements to go through"),
        (name, [a, b]) if name.starts_with('_') => format!("{a} {} {b} cannot be calculated", name.trim_matches('_')),
        (name, kinds) => format!("{name} does not take {}", kinds.join(" and ")),
    };
    EvalError::with(EvalFault::NoSuchOverload, sentence)
}

/// A field was asked of what is no map, as `input.n` is where the input is 5.
#[cold]
pub(super) fn no_field(name: &str, operand: &Operand<'_>) -> EvalError {
    EvalError::with(EvalFault::NoSuchOverload, format!("{} has no field {name}", in_words(operand.kind())))
}

/// A type as people call it.
fn in_words(kind: Type) -> &'static str {
    match kind {
        Type::Null => "null",
        Type::Bool => "a truth value",
        Type::Int => "a whole number",
        Type::Uint => "an unsigned whole number",
        Type::Double => "a number",
        Type::Str => "a text",
        Type::Bytes => "a text of bytes",
        Type::List => "a list",
        Type::Map => "a map",
        Type::Timestamp => "a point in time",
        Type::Duration => "a span of time",
        other => other.name(),
    }
}
