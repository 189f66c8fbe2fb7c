//! Numbers and booleans as they travel in registers: what the fast path of expressions reads, and what it writes into a map.

use crate::number::Number;
use crate::value::Value;

/// A number or boolean in two words: what counters are made of, without a value that goes through memory.
#[derive(Debug, Clone, Copy)]
pub struct Scalar {
    pub(crate) tag: Tag,
    pub(crate) bits: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Take the slow path.
    Other,
    Int,
    Uint,
    Double,
    Bool,
}

impl Scalar {
    pub(crate) const OTHER: Scalar = Scalar { tag: Tag::Other, bits: 0 };

    #[inline]
    pub(crate) fn int(value: i64) -> Scalar {
        Scalar { tag: Tag::Int, bits: value as u64 }
    }

    #[inline]
    pub(crate) fn double(value: f64) -> Scalar {
        Scalar { tag: Tag::Double, bits: value.to_bits() }
    }

    #[inline]
    pub(crate) fn known(self) -> Option<Scalar> {
        (self.tag != Tag::Other).then_some(self)
    }

    /// The value, if it is a number or a boolean.
    #[inline]
    pub(crate) fn of_value(value: &Value) -> Option<Scalar> {
        Scalar::of(value).known()
    }

    #[inline]
    pub(crate) fn of(value: &Value) -> Scalar {
        match value {
            Value::Int(value) => Scalar::int(*value),
            Value::Double(value) => Scalar::double(*value),
            Value::Bool(value) => Scalar { tag: Tag::Bool, bits: u64::from(*value) },
            Value::Uint(value) => Scalar { tag: Tag::Uint, bits: *value },
            _ => Scalar::OTHER,
        }
    }

    #[inline]
    pub(crate) fn number(self) -> Option<Number> {
        match self.tag {
            Tag::Int => Some(Number::Int(self.bits as i64)),
            Tag::Uint => Some(Number::Uint(self.bits)),
            Tag::Double => Some(Number::Double(f64::from_bits(self.bits))),
            Tag::Bool | Tag::Other => None,
        }
    }

    #[inline]
    pub(crate) fn truth(self) -> Option<bool> {
        (self.tag == Tag::Bool).then_some(self.bits != 0)
    }

    #[inline]
    pub(crate) fn value(self) -> Option<Value> {
        match self.tag {
            Tag::Int => Some(Value::Int(self.bits as i64)),
            Tag::Uint => Some(Value::Uint(self.bits)),
            Tag::Double => Some(Value::Double(f64::from_bits(self.bits))),
            Tag::Bool => Some(Value::Bool(self.bits != 0)),
            Tag::Other => None,
        }
    }

    #[inline]
    pub(crate) fn equals(self, other: Scalar) -> Option<bool> {
        if self.tag == Tag::Int && other.tag == Tag::Int {
            return Some(self.bits == other.bits);
        }
        match (self.truth(), other.truth()) {
            (Some(a), Some(b)) => Some(a == b),
            _ => Some(self.number()?.equals(other.number()?)),
        }
    }
}

impl From<Scalar> for Value {
    #[inline]
    fn from(scalar: Scalar) -> Value {
        scalar.value().unwrap_or_default()
    }
}
