//! What is certain about types before anything runs.

use super::env::Type;
use super::lower::Sign;
use super::node::{Arith, Function, Node};
use crate::value::Value;

/// The type an operator gives for operands of these types; None when no values
/// of these types can do.
pub(super) fn operator(sign: Sign, kinds: &[Type]) -> Option<Type> {
    match (sign, kinds) {
        (Sign::Not, [kind]) => kind.may_be(Type::Bool).then_some(Type::Bool),
        (Sign::Negate, [Type::Dyn]) => Some(Type::Dyn),
        (Sign::Negate, [kind @ (Type::Int | Type::Double)]) => Some(*kind),
        (Sign::And | Sign::Or, [a, b]) => (a.may_be(Type::Bool) && b.may_be(Type::Bool)).then_some(Type::Bool),
        (Sign::Cond, [condition, yes, no]) => {
            let kind = if yes == no { *yes } else { Type::Dyn };
            condition.may_be(Type::Bool).then_some(kind)
        }
        (Sign::Arith(op), [a, b]) => arith(op, *a, *b),
        // Values of different types are just not equal.
        (Sign::Equal | Sign::NotEqual, _) => Some(Type::Bool),
        (Sign::Order(_), [a, b]) => order(*a, *b).then_some(Type::Bool),
        (Sign::In, [_, container]) => {
            let fits = container.may_be(Type::List) || container.may_be(Type::Map);
            fits.then_some(Type::Bool)
        }
        (Sign::Index, [container, key]) => {
            let list = container.may_be(Type::List)
                && [Type::Int, Type::Uint, Type::Double].iter().any(|kind| key.may_be(*kind));
            (list || container.may_be(Type::Map)).then_some(Type::Dyn)
        }
        _ => None,
    }
}

/// Every overload of the arithmetic operators.
fn overloads(op: Arith) -> &'static [(Type, Type, Type)] {
    use Type::{Bytes, Double, Duration, Int, List, Str, Timestamp, Uint};
    match op {
        Arith::Add => &[
            (Int, Int, Int),
            (Uint, Uint, Uint),
            (Double, Double, Double),
            (Double, Int, Double),
            (Int, Double, Double),
            (Double, Uint, Double),
            (Uint, Double, Double),
            (Str, Str, Str),
            (Bytes, Bytes, Bytes),
            (List, List, List),
            (Timestamp, Duration, Timestamp),
            (Duration, Timestamp, Timestamp),
            (Duration, Duration, Duration),
        ],
        Arith::Sub => &[
            (Int, Int, Int),
            (Uint, Uint, Uint),
            (Double, Double, Double),
            (Double, Int, Double),
            (Int, Double, Double),
            (Double, Uint, Double),
            (Uint, Double, Double),
            (Timestamp, Timestamp, Duration),
            (Timestamp, Duration, Timestamp),
            (Duration, Duration, Duration),
        ],
        Arith::Mul | Arith::Div => &[
            (Int, Int, Int),
            (Uint, Uint, Uint),
            (Double, Double, Double),
            (Double, Int, Double),
            (Int, Double, Double),
            (Double, Uint, Double),
            (Uint, Double, Double),
        ],
        Arith::Rem => &[(Int, Int, Int), (Uint, Uint, Uint)],
    }
}

fn arith(op: Arith, a: Type, b: Type) -> Option<Type> {
    let mut results = overloads(op)
        .iter()
        .filter(|(left, right, _)| a.may_be(*left) && b.may_be(*right))
        .map(|(_, _, result)| *result);
    let first = results.next()?;
    let same = results.all(|result| result == first);
    Some(if same { first } else { Type::Dyn })
}

fn order(a: Type, b: Type) -> bool {
    let number = |kind| matches!(kind, Type::Int | Type::Uint | Type::Double | Type::Dyn);
    let ordered = |kind| !matches!(kind, Type::Null | Type::List | Type::Map | Type::Type);
    (number(a) && number(b)) || (a.may_be(b) && ordered(a) && ordered(b))
}

/// How to make the operands of the same type, where that is the mistake.
pub(super) fn conversion(sign: Sign, kinds: &[Type]) -> Option<String> {
    let (Sign::Arith(op), [a, b]) = (sign, kinds) else {
        return None;
    };
    match (a, b) {
        (Type::Double, _) | (_, Type::Double) if op == Arith::Rem => {
            Some("make a whole number of it with int()".into())
        }
        (Type::Str, _) | (_, Type::Str) => Some("make a string of the other with string()".into()),
        _ => None,
    }
}

/// Whether `/` may have two whole numbers without an `int()` or `uint()` that says so:
/// it then drops the fraction, in CEL unlike in JavaScript.
pub(super) fn may_drop_fraction(sign: Sign, sides: [(&Node, Type); 2]) -> bool {
    let may_be_whole = |(node, kind): (&Node, Type)| {
        let is_said = matches!(node, Node::Call(Function::Int | Function::Uint, _));
        !is_said && kind.may_be(Type::Int)
    };
    let is_exact = matches!(
        sides,
        [(Node::Const(Value::Int(a)), _), (Node::Const(Value::Int(b)), _)] if a.checked_rem(*b) == Some(0)
    );
    sign == Sign::Arith(Arith::Div) && sides.into_iter().all(may_be_whole) && !is_exact
}

/// What `x || true` and `false && x` are whatever `x` is, an error included.
pub(super) fn decided(node: &Node) -> Option<bool> {
    let (sides, decides) = match node {
        Node::And(sides) => (sides, false),
        Node::Or(sides) => (sides, true),
        _ => return None,
    };
    let found = |side: &Node| matches!(side, Node::Const(Value::Bool(value)) if *value == decides);
    sides.iter().any(found).then_some(decides)
}

/// Whether every part of it, one level down, is a constant (deeper ones have
/// been folded by then).
pub(super) fn is_constant(node: &Node) -> bool {
    let constant = |node: &Node| matches!(node, Node::Const(_) | Node::TypeName(_));
    match node {
        Node::Not(inner) | Node::Negate(inner) => constant(inner),
        Node::And(sides)
        | Node::Or(sides)
        | Node::Arith(_, sides)
        | Node::Equal(_, sides)
        | Node::Order(_, sides)
        | Node::In(sides)
        | Node::Index(sides) => sides.iter().all(constant),
        Node::Cond(parts) => parts.iter().all(constant),
        Node::List(items) | Node::Record(_, items) | Node::Call(_, items) => items.iter().all(constant),
        Node::Select(select) | Node::Has(select) => constant(&select.0),
        Node::Matches(parts) => constant(&parts.0),
        Node::Map(_)
        | Node::Const(_)
        | Node::TypeName(_)
        | Node::Root(_)
        | Node::Field(_)
        | Node::Local(_)
        | Node::Loop(_)
        | Node::Foreign(_) => false,
    }
}
