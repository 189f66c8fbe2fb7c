//! The fast path for what guards and counters mostly are: a number or a string
//! read from a field, compared or added. A [`Scalar`] travels in two registers;
//! an operand goes through memory, several times, which measured at four times
//! the cost of everything else. Whatever is not so simple, and every error,
//! takes the slow path, which starts again.

use super::env::Root;
use super::eval::{Eval, Locals, slot};
use super::node::{Arith, Field, Node, Order};
use crate::payload::{Payload, seek_msgpack};
use crate::scalar::{Scalar, Tag};
use crate::value::Value;

impl Scalar {
    #[inline]
    pub(super) fn ordered(self, op: Order, other: Scalar) -> Option<bool> {
        if self.tag == Tag::Int && other.tag == Tag::Int {
            return Some(op.holds((self.bits as i64).cmp(&(other.bits as i64))));
        }
        let ordering = self.number()?.compare(other.number()?);
        // NaN is in no order with anything.
        Some(ordering.is_some_and(|ordering| op.holds(ordering)))
    }

    /// Nothing when it overflows: the slow path says so.
    #[inline]
    fn arith(self, op: Arith, other: Scalar) -> Scalar {
        let result = match (self.tag, other.tag) {
            (Tag::Int, Tag::Int) => {
                let (a, b) = (self.bits as i64, other.bits as i64);
                match op {
                    Arith::Add => a.checked_add(b),
                    Arith::Sub => a.checked_sub(b),
                    Arith::Mul => a.checked_mul(b),
                    Arith::Div => a.checked_div(b),
                    Arith::Rem => a.checked_rem(b),
                }
            }
            (Tag::Double, Tag::Double) => {
                let (a, b) = (f64::from_bits(self.bits), f64::from_bits(other.bits));
                return match op {
                    Arith::Add => Scalar::double(a + b),
                    Arith::Sub => Scalar::double(a - b),
                    Arith::Mul => Scalar::double(a * b),
                    Arith::Div => Scalar::double(a / b),
                    Arith::Rem => Scalar::OTHER,
                };
            }
            _ => None,
        };
        result.map_or(Scalar::OTHER, Scalar::int)
    }
}

impl<'a> Eval<'_, 'a> {
    /// A leaf, or the sum of two: no deeper, so that starting again is cheap.
    #[inline]
    pub(super) fn fast(&mut self, node: &'a Node, locals: Locals<'_, 'a>) -> Scalar {
        match node {
            Node::Arith(op, sides) => {
                let [a, b] = &**sides;
                let a = self.fast_leaf(a, locals);
                a.arith(*op, self.fast_leaf(b, locals))
            }
            leaf => self.fast_leaf(leaf, locals),
        }
    }

    #[inline(always)]
    fn fast_leaf(&mut self, node: &'a Node, locals: Locals<'_, 'a>) -> Scalar {
        match node {
            Node::Const(value) => Scalar::of(value),
            Node::Field(field) => match self.place(field) {
                Place::Value(value) => Scalar::of(value),
                Place::MsgPack(bytes) => self.fast_msgpack(bytes, field),
                Place::Other => Scalar::OTHER,
            },
            Node::Local(0) => match locals.map(|frame| &frame.value) {
                Some(super::operand::Operand::Int(value)) => Scalar::int(*value),
                _ => Scalar::OTHER,
            },
            _ => Scalar::OTHER,
        }
    }

    /// A constant or a field that is text.
    #[inline]
    pub(super) fn fast_str(&mut self, node: &'a Node) -> Option<&'a str> {
        match node {
            Node::Const(Value::Str(text)) => Some(text),
            Node::Field(field) => match self.place(field) {
                Place::Value(Value::Str(text)) => Some(text),
                Place::MsgPack(bytes) => {
                    let mut reader = seek_msgpack(bytes, &field.name).ok()??;
                    self.charge(reader.offset()).ok()?;
                    reader.read_str().ok()
                }
                _ => None,
            },
            _ => None,
        }
    }

    #[inline]
    fn fast_msgpack(&mut self, bytes: &'a [u8], field: &Field) -> Scalar {
        let Ok(Some(mut reader)) = seek_msgpack(bytes, &field.name) else {
            return Scalar::OTHER;
        };
        if self.charge(reader.offset()).is_err() {
            return Scalar::OTHER;
        }
        // Not by peeking first: a wrong type leaves the reader where it was.
        match reader.rest().first() {
            Some(0xca | 0xcb) => reader.read_f64().map_or(Scalar::OTHER, Scalar::double),
            Some(0xc2) => Scalar::of(&Value::Bool(false)),
            Some(0xc3) => Scalar::of(&Value::Bool(true)),
            _ => reader.read_i64().map_or(Scalar::OTHER, Scalar::int),
        }
    }

    /// Where a field's value is to be found.
    #[inline]
    fn place(&self, field: &Field) -> Place<'a> {
        let root = match field.root {
            Root::Context => self.scope.context,
            Root::Params => self.scope.params,
            Root::Output => self.scope.output,
            Root::Snapshot => self.scope.snapshot,
            Root::Event | Root::Input => {
                let payload = if field.root == Root::Event { &self.scope.event } else { &self.scope.input };
                match payload {
                    Payload::Value(value) => value,
                    Payload::MsgPack(bytes) => return Place::MsgPack(bytes),
                    Payload::Empty | Payload::Json(_) => return Place::Other,
                }
            }
        };
        match root {
            Value::Map(map) => slot(map, field).map_or(Place::Other, Place::Value),
            _ => Place::Other,
        }
    }
}

enum Place<'a> {
    Value(&'a Value),
    MsgPack(&'a [u8]),
    Other,
}
