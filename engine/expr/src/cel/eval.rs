//! Running compiled code. Scalars are never allocated; lists and maps are
//! shared, not copied.

use super::builtins;
use super::env::{Root, Scope};
use super::error::{EvalError, EvalFault};
use super::fallback::Foreign;
use super::node::{Field, Loop, LoopKind, Node, Order};
use super::operand::{Operand, no_field, no_overload};
use super::operators::{self, index_number};
use crate::cost::Cost;
use crate::limits::Limits;
use crate::list::List;
use crate::map::Map;
use crate::payload::{Payload, seek_json, seek_msgpack};
use crate::value::{Str, Value};

/// An evaluation under way.
pub(super) struct Eval<'e, 'a> {
    pub(super) scope: &'e Scope<'a>,
    pub(super) cost: &'e mut Cost,
    pub(super) limits: &'e Limits,
}

/// A macro's variable, and those of the loops around it.
pub(super) struct Frame<'f, 'a> {
    pub(super) value: Operand<'a>,
    outer: Locals<'f, 'a>,
}

pub(super) type Locals<'f, 'a> = Option<&'f Frame<'f, 'a>>;

pub(super) type Evaluated<'a> = Result<Operand<'a>, EvalError>;

/// Bytes that one unit of cost covers: copying, comparing or skipping them is
/// about as much work as visiting a node.
const BYTES_PER_UNIT: usize = 32;

impl<'a> Eval<'_, 'a> {
    pub(super) fn eval(&mut self, node: &'a Node, locals: Locals<'_, 'a>) -> Evaluated<'a> {
        match node {
            Node::Const(value) => Ok(Operand::of(value)),
            Node::Field(field) => self.field(field),
            Node::Arith(op, sides) => {
                if let Some(value) = self.fast(node, locals).value() {
                    return Ok(Operand::own(value));
                }
                let [a, b] = self.both(sides, locals)?;
                self.charge(if a.number().is_some() { 0 } else { a.weight() + b.weight() })?;
                operators::arith(*op, a, b, self.limits)
            }
            Node::And(_)
            | Node::Or(_)
            | Node::Not(_)
            | Node::Equal(..)
            | Node::Order(..)
            | Node::In(_)
            | Node::Has(_)
            | Node::Matches(_) => self.truth(node, locals).map(Operand::Bool),
            Node::Cond(parts) => {
                let [condition, yes, no] = &**parts;
                let branch = if self.truth(condition, locals)? { yes } else { no };
                self.eval(branch, locals)
            }
            Node::Root(root) => self.root(*root),
            Node::Select(select) => {
                let (operand, name) = &**select;
                let operand = self.eval(operand, locals)?;
                self.select(operand, name)?.ok_or_else(|| no_key(name))
            }
            Node::Index(sides) => {
                let [operand, key] = self.both(sides, locals)?;
                self.index(operand, key)
            }
            Node::Local(out) => Ok(local(locals, *out)),
            Node::Negate(inner) => operators::negate(self.eval(inner, locals)?),
            Node::Call(function, args) => {
                let mut values = [const { None }; 2];
                for (place, arg) in values.iter_mut().zip(args) {
                    *place = Some(self.eval(arg, locals)?);
                }
                let [Some(first), second] = values else {
                    return Err(EvalError::new(EvalFault::NoSuchOverload));
                };
                self.charge(first.weight())?;
                builtins::call(*function, first, second, self)
            }
            Node::Foreign(foreign) => self.foreign(foreign, locals),
            Node::List(items) => self.list(items, locals),
            Node::Record(shape, values) => {
                let values = self.values(values, locals)?;
                Ok(Operand::Own(Map::with_shape(shape.clone(), values).into()))
            }
            Node::Map(entries) => self.map(entries, locals),
            Node::Loop(body) => self.run(body, locals),
            Node::TypeName(kind) => Ok(Operand::Type(*kind)),
        }
    }

    #[inline(never)]
    fn foreign(&mut self, foreign: &'a Foreign, locals: Locals<'_, 'a>) -> Evaluated<'a> {
        let mut values = Vec::with_capacity(foreign.args.len());
        for (_, arg) in &foreign.args {
            values.push(self.eval(arg, locals)?.into_value(self.limits)?);
        }
        foreign.eval(values, self.cost, self.limits).map(Operand::own)
    }

    /// A condition, without making an operand of it.
    pub(super) fn truth(&mut self, node: &'a Node, locals: Locals<'_, 'a>) -> Result<bool, EvalError> {
        match node {
            Node::And(sides) => {
                let [a, b] = &**sides;
                self.logic(a, b, false, locals)
            }
            Node::Or(sides) => {
                let [a, b] = &**sides;
                self.logic(a, b, true, locals)
            }
            Node::Not(inner) => Ok(!self.truth(inner, locals)?),
            Node::Order(op, sides) => {
                let [a, b] = &**sides;
                let fast = self.fast(a, locals);
                match fast.ordered(*op, self.fast(b, locals)) {
                    Some(holds) => Ok(holds),
                    None => self.order(*op, sides, locals),
                }
            }
            Node::Equal(negated, sides) => {
                let [a, b] = &**sides;
                let fast = self.fast(a, locals);
                if let Some(equal) = fast.equals(self.fast(b, locals)) {
                    return Ok(equal != *negated);
                }
                if let (Some(a), Some(b)) = (self.fast_str(a), self.fast_str(b)) {
                    return Ok((a == b) != *negated);
                }
                Ok(self.compare(sides, locals)? != *negated)
            }
            _ => match self.fast(node, locals).truth() {
                Some(value) => Ok(value),
                None => self.other_truth(node, locals),
            },
        }
    }

    /// Conditions whose operands are not simple: kept apart so that the others
    /// need little of the stack.
    #[inline(never)]
    fn other_truth(&mut self, node: &'a Node, locals: Locals<'_, 'a>) -> Result<bool, EvalError> {
        match node {
            Node::Has(select) => {
                let (operand, name) = &**select;
                let operand = self.eval(operand, locals)?;
                Ok(self.select(operand, name)?.is_some())
            }
            Node::In(sides) => {
                let [item, container] = self.both(sides, locals)?;
                self.contains(item, container)
            }
            Node::Matches(parts) => {
                let (text, pattern) = &**parts;
                let text = self.eval(text, locals)?;
                self.charge(text.weight().saturating_mul(4))?;
                let found = text.as_str().map(|text| pattern.is_match(text));
                found.ok_or_else(|| no_overload("matches", &[&text]))
            }
            _ => match self.eval(node, locals)? {
                Operand::Bool(value) => Ok(value),
                other => Err(EvalError::with(EvalFault::NotBool, other.kind().name())),
            },
        }
    }

    #[inline(never)]
    fn order(&mut self, op: Order, sides: &'a [Node; 2], locals: Locals<'_, 'a>) -> Result<bool, EvalError> {
        let [a, b] = self.both(sides, locals)?;
        self.charge(a.weight().min(b.weight()))?;
        operators::order(op, &a, &b)
    }

    #[inline(never)]
    fn compare(&mut self, sides: &'a [Node; 2], locals: Locals<'_, 'a>) -> Result<bool, EvalError> {
        let [a, b] = self.both(sides, locals)?;
        self.equal(a, b)
    }

    /// `&&` (decided by false) and `||` (decided by true): an error on one side
    /// does not matter when the other side decides.
    fn logic(&mut self, a: &'a Node, b: &'a Node, decides: bool, locals: Locals<'_, 'a>) -> Result<bool, EvalError> {
        let error = match self.truth(a, locals) {
            Ok(value) if value == decides => return Ok(decides),
            Ok(_) => return self.truth(b, locals),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => error,
        };
        match self.truth(b, locals) {
            Ok(value) if value == decides => Ok(decides),
            Err(fatal) if fatal.is_fatal() => Err(fatal),
            _ => Err(error),
        }
    }

    #[inline]
    fn both(&mut self, sides: &'a [Node; 2], locals: Locals<'_, 'a>) -> Result<[Operand<'a>; 2], EvalError> {
        let [a, b] = sides;
        let a = self.eval(a, locals)?;
        let b = self.eval(b, locals)?;
        Ok([a, b])
    }

    fn root(&mut self, root: Root) -> Evaluated<'a> {
        Ok(Operand::payload(self.scope.root(root))?)
    }

    #[inline]
    fn field(&mut self, field: &'a Field) -> Evaluated<'a> {
        let found = match self.scope.root(field.root) {
            Payload::Value(Value::Map(map)) => slot(map, field).map(Operand::of),
            Payload::MsgPack(bytes) => self.seek_msgpack(bytes, &field.name)?,
            other => {
                let operand = Operand::payload(other)?;
                self.select(operand, &field.name)?
            }
        };
        found.ok_or_else(|| no_key(&field.name))
    }

    /// The value at `name`; an error when `operand` is not a map.
    fn select(&mut self, operand: Operand<'a>, name: &str) -> Result<Option<Operand<'a>>, EvalError> {
        match operand {
            Operand::Ref(Value::Map(map)) => Ok(map.get(name).map(Operand::of)),
            Operand::Own(Value::Map(map)) => Ok(map.get(name).cloned().map(Operand::own)),
            Operand::MsgPack(bytes) if msgpack_is_map(bytes) => self.seek_msgpack(bytes, name),
            Operand::Json(bytes) if bytes.first() == Some(&b'{') => {
                let Some(mut reader) = seek_json(bytes, name)? else {
                    self.charge(bytes.len())?;
                    return Ok(None);
                };
                self.charge(reader.offset())?;
                Ok(Some(Operand::json(&mut reader, bytes)?))
            }
            other => Err(no_field(name, &other)),
        }
    }

    #[inline]
    fn seek_msgpack(&mut self, bytes: &'a [u8], name: &str) -> Result<Option<Operand<'a>>, EvalError> {
        let Some(mut reader) = seek_msgpack(bytes, name)? else {
            self.charge(bytes.len())?;
            return if msgpack_is_map(bytes) {
                Ok(None)
            } else {
                let operand = Operand::msgpack(&mut crate::msgpack::Reader::new(bytes))?;
                Err(no_field(name, &operand))
            };
        };
        self.charge(reader.offset())?;
        Ok(Some(Operand::msgpack(&mut reader)?))
    }

    fn index(&mut self, operand: Operand<'a>, key: Operand<'a>) -> Evaluated<'a> {
        if let (Some(name), true) = (key.as_str(), operand.kind() == super::Type::Map) {
            let found = self.select(operand, name)?;
            return found.ok_or_else(|| no_key(name));
        }
        let operand = self.decode(operand)?;
        match operand.compound() {
            Some(Value::List(list)) => {
                let at = index_number(&key, &operand)?;
                match at.and_then(|at| list.get(at)) {
                    Some(_) => Ok(element(&operand, at.unwrap_or(0))),
                    None => Err(EvalError::new(EvalFault::IndexOutOfRange)),
                }
            }
            Some(Value::Map(_)) => Err(EvalError::with(EvalFault::NoSuchKey, key.kind().name())),
            _ => Err(no_overload("_[_]", &[&operand, &key])),
        }
    }

    pub(super) fn equal(&mut self, a: Operand<'a>, b: Operand<'a>) -> Result<bool, EvalError> {
        if let Some(simple) = operators::equal_scalars(&a, &b) {
            return Ok(simple);
        }
        self.charge(a.weight().min(b.weight()))?;
        let (a, b) = (self.decode(a)?, self.decode(b)?);
        Ok(match (a.compound(), b.compound()) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        })
    }

    fn contains(&mut self, item: Operand<'a>, container: Operand<'a>) -> Result<bool, EvalError> {
        if let (Some(name), super::Type::Map) = (item.as_str(), container.kind()) {
            return Ok(self.select(container, name)?.is_some());
        }
        let container = self.decode(container)?;
        match container.compound() {
            Some(Value::List(list)) => {
                self.charge(list.len().saturating_mul(BYTES_PER_UNIT / 4))?;
                for at in 0..list.len() {
                    if self.equal(item.clone(), element(&container, at))? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Some(Value::Map(_)) => Ok(false),
            _ => Err(no_overload("_in_", &[&item, &container])),
        }
    }

    fn list(&mut self, items: &'a [Node], locals: Locals<'_, 'a>) -> Evaluated<'a> {
        let items = self.values(items, locals)?;
        Ok(Operand::Own(List::from(items).into()))
    }

    fn values(&mut self, nodes: &'a [Node], locals: Locals<'_, 'a>) -> Result<Vec<Value>, EvalError> {
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            values.push(self.eval(node, locals)?.into_value(self.limits)?);
        }
        Ok(values)
    }

    fn map(&mut self, entries: &'a [[Node; 2]], locals: Locals<'_, 'a>) -> Evaluated<'a> {
        let mut map = Map::new();
        for entry in entries {
            let [key, value] = self.both(entry, locals)?;
            let value = value.into_value(self.limits)?;
            let Some(key) = key.as_str() else {
                let kind = format!("a map key of type {}", key.kind().name());
                return Err(EvalError::with(EvalFault::Unsupported, kind));
            };
            if map.insert(Str::new(key), value).is_some() {
                let repeated = format!("repeated key {key:?}");
                return Err(EvalError::with(EvalFault::BadConversion, repeated));
            }
        }
        Ok(Operand::Own(map.into()))
    }

    /// A macro. What one round costs is charged before it runs.
    fn run(&mut self, code: &'a Loop, outer: Locals<'_, 'a>) -> Evaluated<'a> {
        let range = self.eval(&code.range, outer)?;
        let range = self.decode(range)?;
        let len = match range.compound() {
            Some(Value::List(list)) => list.len(),
            Some(Value::Map(map)) => map.len(),
            _ => return Err(no_overload("comprehension", &[&range])),
        };
        let mut state = Collected::default();
        for at in 0..len {
            if !self.cost.take(code.nodes) {
                return Err(EvalError::new(EvalFault::CostExceeded));
            }
            let frame = Frame { value: element(&range, at), outer };
            if self.round(code, &frame, &mut state)? {
                break;
            }
        }
        state.finish(code.kind)
    }

    /// One round; whether the outcome is certain.
    fn round(&mut self, code: &'a Loop, frame: &Frame<'_, 'a>, state: &mut Collected) -> Result<bool, EvalError> {
        let locals = Some(frame);
        match code.kind {
            LoopKind::All | LoopKind::Exists => {
                let decides = code.kind == LoopKind::Exists;
                match self.truth(&code.body, locals) {
                    Ok(value) if value == decides => {
                        state.decided = true;
                        return Ok(true);
                    }
                    Ok(_) => {}
                    Err(error) if error.is_fatal() => return Err(error),
                    // Without effect if a later element decides.
                    Err(error) => state.error = state.error.take().or(Some(error)),
                }
            }
            LoopKind::ExistsOne => state.count += usize::from(self.truth(&code.body, locals)?),
            LoopKind::Collect => {
                let keep = match &code.filter {
                    Some(filter) => self.truth(filter, locals)?,
                    None => true,
                };
                if keep {
                    let item = self.eval(&code.body, locals)?;
                    state.items.push(item.into_value(self.limits)?);
                }
            }
        }
        Ok(false)
    }

    pub(super) fn decode(&mut self, operand: Operand<'a>) -> Evaluated<'a> {
        if matches!(operand, Operand::Json(_) | Operand::MsgPack(_)) {
            self.charge(operand.weight())?;
        }
        Ok(operand.decoded(self.limits)?)
    }

    /// Charges for work on so many bytes.
    #[inline]
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), EvalError> {
        if bytes < BYTES_PER_UNIT || self.cost.take((bytes / BYTES_PER_UNIT) as u64) {
            Ok(())
        } else {
            Err(EvalError::new(EvalFault::CostExceeded))
        }
    }
}

/// What a loop has found so far.
#[derive(Default)]
struct Collected {
    decided: bool,
    error: Option<EvalError>,
    count: usize,
    items: Vec<Value>,
}

impl Collected {
    fn finish<'a>(self, kind: LoopKind) -> Evaluated<'a> {
        match (kind, self.decided, self.error) {
            (LoopKind::All, true, _) => Ok(Operand::Bool(false)),
            (LoopKind::Exists, true, _) => Ok(Operand::Bool(true)),
            (_, _, Some(error)) => Err(error),
            (LoopKind::All, ..) => Ok(Operand::Bool(true)),
            (LoopKind::Exists, ..) => Ok(Operand::Bool(false)),
            (LoopKind::ExistsOne, ..) => Ok(Operand::Bool(self.count == 1)),
            (LoopKind::Collect, ..) => Ok(Operand::Own(List::from(self.items).into())),
        }
    }
}

/// The field of a map: by slot when the map has the expected shape, or has the
/// name in the expected slot; by name otherwise.
#[inline]
pub(super) fn slot<'a>(map: &'a Map, field: &Field) -> Option<&'a Value> {
    if let Some((shape, slot)) = &field.place {
        let keys = map.shape();
        if keys.is(shape) || keys.keys().get(*slot) == Some(&field.name) {
            return map.slot(*slot);
        }
    }
    map.get(&field.name)
}

/// Element `at` of a list, or key `at` of a map.
fn element<'a>(range: &Operand<'a>, at: usize) -> Operand<'a> {
    let found = match range {
        Operand::Ref(Value::List(list)) => list.get(at).map(Operand::of),
        Operand::Own(Value::List(list)) => list.get(at).cloned().map(Operand::own),
        Operand::Ref(Value::Map(map)) => {
            let key = map.shape().keys().get(at);
            key.map(|key| Operand::Str(key))
        }
        Operand::Own(Value::Map(map)) => {
            let key = map.shape().keys().get(at);
            key.map(|key| Operand::Own(Value::Str(key.clone())))
        }
        _ => None,
    };
    found.unwrap_or(Operand::Null)
}

fn local<'a>(mut locals: Locals<'_, 'a>, out: usize) -> Operand<'a> {
    for _ in 0..out {
        locals = locals.and_then(|frame| frame.outer);
    }
    locals.map_or(Operand::Null, |frame| frame.value.clone())
}

fn msgpack_is_map(bytes: &[u8]) -> bool {
    crate::msgpack::Reader::new(bytes).peek() == Ok(crate::msgpack::MsgPackKind::Map)
}

#[cold]
fn no_key(name: &str) -> EvalError {
    EvalError::with(EvalFault::NoSuchKey, name)
}
