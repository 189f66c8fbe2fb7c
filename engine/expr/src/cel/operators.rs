//! CEL's operators on values. Integers are checked; equality and order across
//! numeric types by mathematical value. Beyond CEL, an integer and a double can
//! be added, subtracted, multiplied and divided: JSON has one type of number,
//! and whether one comes with a fraction is not the machine's to say.

use super::error::{EvalError, EvalFault};
use super::eval::Evaluated;
use super::node::{Arith, Order};
use super::operand::{Operand, no_overload};
use crate::limits::Limits;
use crate::number;
use crate::value::{Str, Value};
use std::cmp::Ordering;

impl Arith {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Arith::Add => "_+_",
            Arith::Sub => "_-_",
            Arith::Mul => "_*_",
            Arith::Div => "_/_",
            Arith::Rem => "_%_",
        }
    }
}

impl Order {
    #[inline]
    pub(super) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Order::Less => ordering.is_lt(),
            Order::LessEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterEqual => ordering.is_ge(),
        }
    }
}

#[inline]
pub(super) fn arith<'a>(op: Arith, a: Operand<'a>, b: Operand<'a>, limits: &Limits) -> Evaluated<'a> {
    match (a, b) {
        (Operand::Int(a), Operand::Int(b)) => ints(op, a, b).map(Operand::Int),
        (Operand::Double(a), Operand::Double(b)) if op != Arith::Rem => Ok(Operand::Double(doubles(op, a, b))),
        (Operand::Uint(a), Operand::Uint(b)) => uints(op, a, b).map(Operand::Uint),
        (a, b) => others(op, a, b, limits),
    }
}

/// Checked arithmetic of one type of integers.
macro_rules! checked {
    ($name:ident, $integer:ty) => {
        fn $name(op: Arith, a: $integer, b: $integer) -> Result<$integer, EvalError> {
            let value = match op {
                Arith::Add => a.checked_add(b),
                Arith::Sub => a.checked_sub(b),
                Arith::Mul => a.checked_mul(b),
                Arith::Div | Arith::Rem if b == 0 => return Err(by_zero()),
                Arith::Div => a.checked_div(b),
                Arith::Rem => a.checked_rem(b),
            };
            value.ok_or_else(overflow)
        }
    };
}

checked!(ints, i64);
checked!(uints, u64);

fn doubles(op: Arith, a: f64, b: f64) -> f64 {
    match op {
        Arith::Add => a + b,
        Arith::Sub => a - b,
        Arith::Mul => a * b,
        Arith::Div => a / b,
        Arith::Rem => a % b,
    }
}

/// The two as doubles, if one is a double and the other an integer.
fn mixed(a: &Operand<'_>, b: &Operand<'_>) -> Option<(f64, f64)> {
    match (a, b) {
        (Operand::Double(a), Operand::Int(b)) => Some((*a, *b as f64)),
        (Operand::Int(a), Operand::Double(b)) => Some((*a as f64, *b)),
        (Operand::Double(a), Operand::Uint(b)) => Some((*a, *b as f64)),
        (Operand::Uint(a), Operand::Double(b)) => Some((*a as f64, *b)),
        _ => None,
    }
}

/// Numbers of two types, times, and joining strings, bytes and lists.
fn others<'a>(op: Arith, a: Operand<'a>, b: Operand<'a>, limits: &Limits) -> Evaluated<'a> {
    // As with two doubles, `%` is not for them.
    if let Some((a, b)) = mixed(&a, &b).filter(|_| op != Arith::Rem) {
        return Ok(Operand::Double(doubles(op, a, b)));
    }
    let result = match (op, &a, &b) {
        (Arith::Add, Operand::Timestamp(time), Operand::Duration(span))
        | (Arith::Add, Operand::Duration(span), Operand::Timestamp(time)) => {
            time.checked_add(*span).map(Operand::Timestamp)
        }
        (Arith::Sub, Operand::Timestamp(time), Operand::Duration(span)) => {
            span.checked_neg().and_then(|span| time.checked_add(span)).map(Operand::Timestamp)
        }
        (Arith::Sub, Operand::Timestamp(a), Operand::Timestamp(b)) => a.checked_since(*b).map(Operand::Duration),
        (Arith::Add, Operand::Duration(a), Operand::Duration(b)) => a.checked_add(*b).map(Operand::Duration),
        (Arith::Sub, Operand::Duration(a), Operand::Duration(b)) => {
            b.checked_neg().and_then(|b| a.checked_add(b)).map(Operand::Duration)
        }
        (Arith::Add, ..) => return join(a, b, limits),
        _ => return Err(no_overload(op.sign(), &[&a, &b])),
    };
    result.ok_or_else(overflow)
}

fn join<'a>(a: Operand<'a>, b: Operand<'a>, limits: &Limits) -> Evaluated<'a> {
    if a.weight().saturating_add(b.weight()) > limits.value_bytes.saturating_add(512) {
        return Err(EvalError::new(EvalFault::TooLarge));
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        let mut text = smol_str::SmolStrBuilder::new();
        text.push_str(a);
        text.push_str(b);
        return Ok(Operand::Own(Value::Str(Str::from(text))));
    }
    let (a, b) = (a.decoded(limits)?, b.decoded(limits)?);
    match (a.compound(), b.compound()) {
        (Some(Value::List(a)), Some(Value::List(b))) => Ok(Operand::Own(a.concat(b).into())),
        (Some(Value::Bytes(a)), Some(Value::Bytes(b))) => {
            Ok(Operand::Own(Value::Bytes([&a[..], &b[..]].concat().into())))
        }
        _ => Err(no_overload("_+_", &[&a, &b])),
    }
}

pub(super) fn negate(operand: Operand<'_>) -> Evaluated<'_> {
    match operand {
        Operand::Int(value) => value.checked_neg().map(Operand::Int).ok_or_else(overflow),
        Operand::Double(value) => Ok(Operand::Double(-value)),
        other => Err(no_overload("-_", &[&other])),
    }
}

#[inline]
pub(super) fn order(op: Order, a: &Operand<'_>, b: &Operand<'_>) -> Result<bool, EvalError> {
    if let (Operand::Int(a), Operand::Int(b)) = (a, b) {
        return Ok(op.holds(a.cmp(b)));
    }
    if let (Some(a), Some(b)) = (a.number(), b.number()) {
        // NaN is in no order with anything.
        return Ok(a.compare(b).is_some_and(|ordering| op.holds(ordering)));
    }
    let ordering = match (a, b) {
        (Operand::Bool(a), Operand::Bool(b)) => a.cmp(b),
        (Operand::Timestamp(a), Operand::Timestamp(b)) => a.cmp(b),
        (Operand::Duration(a), Operand::Duration(b)) => a.cmp(b),
        _ => match (a.as_str(), b.as_str(), a.as_bytes(), b.as_bytes()) {
            (Some(a), Some(b), ..) => a.cmp(b),
            (_, _, Some(a), Some(b)) => a.cmp(b),
            _ => return Err(no_overload("order", &[a, b])),
        },
    };
    Ok(op.holds(ordering))
}

/// Whether two values are equal, unless both are lists, maps or bytes.
#[inline]
pub(super) fn equal_scalars(a: &Operand<'_>, b: &Operand<'_>) -> Option<bool> {
    if let (Operand::Int(a), Operand::Int(b)) = (a, b) {
        return Some(a == b);
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Some(a == b);
    }
    match (a, b) {
        (Operand::Null, Operand::Null) => Some(true),
        (Operand::Bool(a), Operand::Bool(b)) => Some(a == b),
        (Operand::Timestamp(a), Operand::Timestamp(b)) => Some(a == b),
        (Operand::Duration(a), Operand::Duration(b)) => Some(a == b),
        (Operand::Type(a), Operand::Type(b)) => Some(a == b),
        _ => match (a.number(), b.number()) {
            (Some(a), Some(b)) => Some(a.equals(b)),
            (None, None) if is_compound(a) && is_compound(b) => None,
            _ => Some(false),
        },
    }
}

fn is_compound(operand: &Operand<'_>) -> bool {
    matches!(operand, Operand::Ref(_) | Operand::Own(_) | Operand::Json(_) | Operand::MsgPack(_))
}

/// The position that `key` says in `list`, None if it is out of any range.
pub(super) fn index_number(key: &Operand<'_>, list: &Operand<'_>) -> Result<Option<usize>, EvalError> {
    match key {
        Operand::Int(value) => Ok(usize::try_from(*value).ok()),
        Operand::Uint(value) => Ok(usize::try_from(*value).ok()),
        Operand::Double(value) if value.trunc() == *value => {
            Ok(number::exact_u64(*value).and_then(|value| usize::try_from(value).ok()))
        }
        other => Err(no_overload("_[_]", &[list, other])),
    }
}

#[cold]
fn overflow() -> EvalError {
    EvalError::new(EvalFault::Overflow)
}

#[cold]
fn by_zero() -> EvalError {
    EvalError::new(EvalFault::DivideByZero)
}
