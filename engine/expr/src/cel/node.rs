//! Compiled code: a tree in which names are resolved, constants folded and
//! macros are loops.

use super::env::{Root, Type};
use super::fallback::Foreign;
use crate::map::Shape;
use crate::value::{Str, Value};
use regex::Regex;

/// One operation. Operands of common operations sit beside each other in one
/// allocation.
#[derive(Debug)]
pub(super) enum Node {
    Const(Value),
    TypeName(Type),
    Root(Root),
    /// `context.count`
    Field(Box<Field>),
    /// `operand.name`
    Select(Box<(Node, Str)>),
    /// `has(operand.name)`
    Has(Box<(Node, Str)>),
    /// A macro's variable, so many loops out.
    Local(usize),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Cond(Box<[Node; 3]>),
    Arith(Arith, Box<[Node; 2]>),
    /// Negated when the flag is set.
    Equal(bool, Box<[Node; 2]>),
    Order(Order, Box<[Node; 2]>),
    In(Box<[Node; 2]>),
    Index(Box<[Node; 2]>),
    List(Vec<Node>),
    /// A map of constant keys.
    Record(Shape, Vec<Node>),
    /// A map of computed keys: key, value.
    Map(Vec<[Node; 2]>),
    Call(Function, Vec<Node>),
    /// A function of the `cel` crate.
    Foreign(Box<Foreign>),
    /// `text.matches(pattern)` of a constant pattern.
    Matches(Box<(Node, Regex)>),
    Loop(Box<Loop>),
}

/// A root's field, and where it is in maps of the shape the root usually has.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) root: Root,
    pub(super) name: Str,
    pub(super) place: Option<(Shape, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arith {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// A macro over a list's elements or a map's keys.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Node,
    /// The predicate of `filter` and of `map` with three arguments.
    pub(super) filter: Option<Node>,
    /// The predicate, or what `map` makes of an element.
    pub(super) body: Node,
    /// What one round costs.
    pub(super) nodes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    /// `map` and `filter`
    Collect,
}

/// A function of the standard library that is not an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    Bool,
    Bytes,
    Double,
    Duration,
    Dyn,
    Int,
    Str,
    Timestamp,
    TypeOf,
    Uint,
    Time(TimePart),
    /// Not CEL's: the entries of a map with those of another put into it.
    Merge,
}

/// What `getFullYear()` and its like read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimePart {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

impl Function {
    /// The name, whether it is called on a target (`x.f()`), and how many
    /// values it may take, the target included.
    pub(super) const ALL: [(&'static str, Call, Function); 26] = {
        use Call::{Either, Global, Member};
        use Function as F;
        use TimePart as T;
        [
            ("size", Either(1, 1), F::Size),
            ("contains", Member(2, 2), F::Contains),
            ("startsWith", Member(2, 2), F::StartsWith),
            ("endsWith", Member(2, 2), F::EndsWith),
            ("matches", Either(2, 2), F::Matches),
            ("merge", Member(2, 2), F::Merge),
            ("bool", Global, F::Bool),
            ("bytes", Global, F::Bytes),
            ("double", Global, F::Double),
            ("duration", Global, F::Duration),
            ("dyn", Global, F::Dyn),
            ("int", Global, F::Int),
            ("string", Global, F::Str),
            ("timestamp", Global, F::Timestamp),
            ("type", Global, F::TypeOf),
            ("uint", Global, F::Uint),
            ("getFullYear", Member(1, 2), F::Time(T::FullYear)),
            ("getMonth", Member(1, 2), F::Time(T::Month)),
            ("getDate", Member(1, 2), F::Time(T::Date)),
            ("getDayOfMonth", Member(1, 2), F::Time(T::DayOfMonth)),
            ("getDayOfWeek", Member(1, 2), F::Time(T::DayOfWeek)),
            ("getDayOfYear", Member(1, 2), F::Time(T::DayOfYear)),
            ("getHours", Member(1, 2), F::Time(T::Hours)),
            ("getMinutes", Member(1, 2), F::Time(T::Minutes)),
            ("getSeconds", Member(1, 2), F::Time(T::Seconds)),
            ("getMilliseconds", Member(1, 2), F::Time(T::Milliseconds)),
        ]
    };

    pub(super) fn find(name: &str, member: bool, values: usize) -> Option<Function> {
        let fits = |call: &Call| match call {
            Call::Global => !member && values == 1,
            Call::Member(least, most) => member && (*least..=*most).contains(&values),
            Call::Either(least, most) => (*least..=*most).contains(&values),
        };
        let found = Function::ALL.iter().find(|(known, call, _)| *known == name && fits(call));
        found.map(|(_, _, function)| *function)
    }

    /// The type of its results, whatever it is given.
    pub(super) fn result(self) -> Type {
        match self {
            Function::Size | Function::Int | Function::Time(_) => Type::Int,
            Function::Contains | Function::StartsWith | Function::EndsWith | Function::Matches | Function::Bool => {
                Type::Bool
            }
            Function::Bytes => Type::Bytes,
            Function::Merge => Type::Map,
            Function::Double => Type::Double,
            Function::Duration => Type::Duration,
            Function::Dyn => Type::Dyn,
            Function::Str => Type::Str,
            Function::Timestamp => Type::Timestamp,
            Function::TypeOf => Type::Type,
            Function::Uint => Type::Uint,
        }
    }

    /// The types it takes as its first value (the target, if it has one).
    pub(super) fn takes(self) -> &'static [Type] {
        use Type as T;
        match self {
            Function::Size => &[T::Str, T::Bytes, T::List, T::Map],
            Function::Contains | Function::StartsWith | Function::EndsWith | Function::Matches => &[T::Str],
            Function::Merge => &[T::Map],
            Function::Bool => &[T::Bool, T::Str],
            Function::Bytes => &[T::Bytes, T::Str],
            Function::Double => &[T::Double, T::Int, T::Uint, T::Str],
            Function::Duration => &[T::Duration, T::Str],
            Function::Int => &[T::Int, T::Uint, T::Double, T::Str, T::Timestamp],
            Function::Uint => &[T::Uint, T::Int, T::Double, T::Str],
            Function::Str => &[T::Str, T::Bool, T::Int, T::Uint, T::Double, T::Bytes, T::Timestamp, T::Duration],
            Function::Timestamp => &[T::Timestamp, T::Int, T::Str],
            Function::Time(TimePart::Hours | TimePart::Minutes | TimePart::Seconds | TimePart::Milliseconds) => {
                &[T::Timestamp, T::Duration]
            }
            Function::Time(_) => &[T::Timestamp],
            Function::Dyn | Function::TypeOf => &[],
        }
    }
}

/// How a function is called, and with how many values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// `f(x)`
    Global,
    /// `x.f(..)`, at least and at most so many values, `x` included
    Member(usize, usize),
    /// Both.
    Either(usize, usize),
}
