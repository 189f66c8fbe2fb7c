//! From the parser's tree to our code: names resolved, types inferred where
//! they are certain, constants folded.

use super::check;
use super::env::{Env, Root, Roots, Scope, Type};
use super::error::CompileError;
use super::eval::Eval;
use super::fallback::{self, Fallback, Foreign};
use super::macros;
use super::node::{Arith, Field, Function, Loop, Node, Order};
use super::operand::kind_of;
use super::program::{Code, Compiled};
use super::suggest;
use crate::cost::Cost;
use crate::limits::Limits;
use crate::map::Shape;
use crate::value::{Str, Value};
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators as op};

/// What computing a constant may cost, and how large it may be, to be done
/// when compiling.
const FOLD_COST: u64 = 2_000;
const FOLD_BYTES: usize = 16 << 10;

/// Why compiling stops.
pub(super) enum Stop {
    Error(CompileError),
    /// It is CEL, but not of the part that we compile.
    Fallback,
}

impl From<CompileError> for Stop {
    fn from(error: CompileError) -> Stop {
        Stop::Error(error)
    }
}

/// Code and the type of its values.
pub(super) struct Typed {
    pub(super) node: Node,
    pub(super) kind: Type,
}

pub(super) type Lowered = Result<Typed, Stop>;

pub(super) fn compile(source: &str, env: &Env, limits: &Limits) -> Result<Compiled, CompileError> {
    let (tree, places) = parse(source)?;
    let mut lower = Lower {
        env,
        limits,
        places: &places,
        locals: Vec::new(),
        roots: Roots::default(),
        nodes: 0,
        divisions: Vec::new(),
        context_keys: Vec::new(),
        event_operands: Vec::new(),
    };
    match lower.expr(&tree) {
        Ok(typed) => {
            let Lower { roots, nodes, divisions, context_keys, event_operands, .. } = lower;
            let (code, kind) = (Code::Compiled(typed.node), typed.kind);
            Ok(Compiled { code, kind, roots, nodes, divisions, context_keys, event_operands })
        }
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Fallback) => lower.fall_back(tree),
    }
}

fn parse(source: &str) -> Result<(IdedExpr, SourceInfo), CompileError> {
    // The parser is a foreign one, generated: should it panic on some input,
    // that is an error in the input and not the end of the daemon.
    let parsed = std::panic::catch_unwind(|| fallback::parser().parse_with_source_info(source));
    let errors = match parsed {
        Ok(Ok(parsed)) => return Ok(parsed),
        Ok(Err(errors)) => errors.errors,
        Err(_) => Vec::new(),
    };
    let (offset, message) = match errors.first() {
        Some(error) => {
            let offset = offset_of(source, error.pos);
            (offset, said(source, offset, &error.msg))
        }
        None => (0, "the text cannot be parsed".to_owned()),
    };
    let mut error = CompileError::new(offset, "expression_syntax", message);
    if source.contains("===") || source.contains("!==") {
        error = error.hint("CEL compares with == and !=");
    }
    Err(error)
}

/// A parser's message as a sentence. Those of the grammar list all tokens that could stand in a place.
fn said(source: &str, offset: usize, message: &str) -> String {
    const SHOWN_MAX: usize = 40;
    let Some(grammar) = message.strip_prefix("Syntax error: ") else { return message.to_owned() };
    let rest = source.get(offset..).unwrap_or_default();
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let length = if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) };
    let token: String =
        rest.chars().take(rest.get(..length).map_or(0, |token| token.chars().count()).min(SHOWN_MAX)).collect();
    match token.trim() {
        "" => "the expression ends too early: something is missing at its end".to_owned(),
        token if grammar.starts_with("token recognition error") => {
            format!("`{token}` begins nothing that an expression has")
        }
        token => format!("`{token}` cannot stand here: something is missing before it, or it is too much"),
    }
}

/// The byte at a line and a column of characters, both from 1.
fn offset_of(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = source.get(start..).unwrap_or_default();
    let within = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
    start + within
}

pub(super) struct Lower<'c> {
    env: &'c Env,
    limits: &'c Limits,
    places: &'c SourceInfo,
    /// Variables of the macros around, outermost first.
    locals: Vec<(String, Type)>,
    roots: Roots,
    nodes: u64,
    divisions: Vec<usize>,
    context_keys: Vec<(Str, usize)>,
    event_operands: Vec<(Str, usize)>,
}

impl Lower<'_> {
    pub(super) fn expr(&mut self, tree: &IdedExpr) -> Lowered {
        self.nodes += 1;
        if self.nodes > self.limits.source_nodes as u64 {
            let message = format!("the expression has more than {} nodes", self.limits.source_nodes);
            return Err(CompileError::new(0, "expression_too_large", message).into());
        }
        let typed = match &tree.expr {
            Expr::Literal(literal) => constant(literal_value(literal)),
            Expr::Ident(name) => self.ident(tree, name)?,
            Expr::Select(select) => self.select(tree, select)?,
            Expr::Call(call) => self.call(tree, call)?,
            Expr::List(list) if list.optional_indices.is_empty() => {
                let items = self.all(&list.elements)?;
                typed(Node::List(items), Type::List)
            }
            Expr::Map(map) => self.map(&map.entries)?,
            Expr::Comprehension(comprehension) => {
                let parts = macros::recognise(comprehension).ok_or(Stop::Fallback)?;
                self.run(tree, &parts)?
            }
            Expr::List(_) | Expr::Struct(_) | Expr::Unspecified => return Err(Stop::Fallback),
        };
        Ok(self.fold(typed))
    }

    /// An error at `tree`.
    pub(super) fn error(&self, tree: &IdedExpr, code: &'static str, message: String) -> CompileError {
        let offset = self.places.offset_for(tree.id).map_or(0, |(start, _)| start as usize);
        CompileError::new(offset, code, message)
    }

    fn all(&mut self, trees: &[IdedExpr]) -> Result<Vec<Node>, Stop> {
        trees.iter().map(|tree| Ok(self.expr(tree)?.node)).collect()
    }

    fn ident(&mut self, tree: &IdedExpr, name: &str) -> Lowered {
        let mut out = self.locals.iter().rev().enumerate();
        if let Some((out, (_, kind))) = out.find(|(_, (local, _))| local == name) {
            return Ok(typed(Node::Local(out), *kind));
        }
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((root, declared)) = self.env.lookup(name) {
            self.roots.add(root);
            return Ok(typed(Node::Root(root), declared.kind));
        }
        if let Some(kind) = type_named(name) {
            return Ok(typed(Node::TypeName(kind), Type::Type));
        }
        let names: Vec<_> = self.env.names().collect();
        let error = self.error(tree, "unknown_root", format!("there is no {name:?} here"));
        let hint = match suggest::closest(name, names.iter().copied()) {
            Some(close) => format!("did you mean {close:?}?"),
            None if names.is_empty() => "only constants can be used here".to_owned(),
            None => format!("an expression here can read {}", names.join(", ")),
        };
        Err(error.hint(hint).into())
    }

    fn select(&mut self, tree: &IdedExpr, select: &SelectExpr) -> Lowered {
        if let Some(kind) = qualified(tree).as_deref().and_then(type_named) {
            return Ok(typed(Node::TypeName(kind), Type::Type));
        }
        let operand = self.expr(&select.operand)?;
        if !operand.kind.may_be(Type::Map) {
            let message = format!("a {} has no fields", operand.kind.name());
            return Err(self.error(tree, "wrong_type", message).into());
        }
        let name = Str::new(&select.field);
        if select.test {
            return Ok(typed(Node::Has(Box::new((operand.node, name))), Type::Bool));
        }
        let Node::Root(root) = operand.node else {
            return Ok(typed(Node::Select(Box::new((operand.node, name))), Type::Dyn));
        };
        if root == Root::Context {
            let offset = self.places.offset_for(tree.id).map_or(0, |(start, _)| start as usize);
            self.context_keys.push((name.clone(), offset));
        }
        Ok(self.field(root, name))
    }

    fn field(&self, root: Root, name: Str) -> Typed {
        let declared = self.env.lookup(root.name()).map(|(_, declared)| declared);
        let kind = declared
            .and_then(|declared| declared.fields.iter().find(|(field, _)| *field == name))
            .map_or(Type::Dyn, |(_, kind)| *kind);
        let place = declared
            .and_then(|declared| declared.shape.as_ref())
            .and_then(|shape| Some((shape.clone(), shape.slot_of(&name)?)));
        typed(Node::Field(Box::new(Field { root, name, place })), kind)
    }

    fn call(&mut self, tree: &IdedExpr, call: &CallExpr) -> Lowered {
        let name = call.func_name.as_str();
        if let (None, Some(sign)) = (&call.target, Sign::of(name)) {
            return self.operator(tree, sign, call);
        }
        let values = call.args.len() + usize::from(call.target.is_some());
        let Some(function) = Function::find(name, call.target.is_some(), values) else {
            return match fallback::is_called(name) {
                true => self.foreign(call),
                false => Err(self.not_ours(tree, call)),
            };
        };
        let mut args = Vec::with_capacity(values);
        for (n, arg) in call.target.as_deref().into_iter().chain(&call.args).enumerate() {
            let arg = self.expr(arg)?;
            let takes = if n == 0 || function == Function::Merge { function.takes() } else { &[Type::Str] };
            if !takes.is_empty() && !takes.iter().any(|kind| arg.kind.may_be(*kind)) {
                let message = format!("{name}() does not take a {}", arg.kind.name());
                return Err(self.error(tree, "wrong_type", message).into());
            }
            args.push(arg.node);
        }
        let kind = function.result();
        if let (Function::Matches, [_, Node::Const(Value::Str(text))]) = (function, &args[..]) {
            let pattern =
                super::builtins::pattern(text).map_err(|error| self.error(tree, "bad_pattern", error.to_string()))?;
            args.truncate(1);
            if let Some(text) = args.pop() {
                return Ok(typed(Node::Matches(Box::new((text, pattern))), kind));
            }
        }
        Ok(typed(Node::Call(function, args), kind))
    }

    /// A call of one of the crate's functions: it is evaluated by itself, whatever is around it.
    fn foreign(&mut self, call: &CallExpr) -> Lowered {
        let target = call.target.as_deref().filter(|target| !self.is_namespace(target));
        let mut args = Vec::with_capacity(call.args.len() + 1);
        for arg in target.into_iter().chain(&call.args) {
            args.push(self.expr(arg)?.node);
        }
        Ok(typed(Node::Foreign(Box::new(Foreign::new(call, target.is_some(), args))), Type::Dyn))
    }

    /// Whether this is what the crate's functions are called on, such as `math`, and no value.
    fn is_namespace(&self, target: &IdedExpr) -> bool {
        let Expr::Ident(name) = &target.expr else { return false };
        let is_value = self.locals.iter().any(|(local, _)| local == name) || self.env.lookup(name).is_some();
        fallback::is_namespace(name) && !is_value
    }

    /// A call of what we do not compile: the crate's, or an error.
    fn not_ours(&self, tree: &IdedExpr, call: &CallExpr) -> Stop {
        let name = call.func_name.as_str();
        if fallback::knows(name) {
            return Stop::Fallback;
        }
        let ours = Function::ALL.iter().map(|(known, ..)| *known);
        let known = ours.clone().any(|known| known == name);
        let message =
            if known { format!("{name}() is not called like this") } else { format!("there is no function {name}()") };
        let error = self.error(tree, "unknown_function", message);
        match suggest::closest(name, ours).filter(|_| !known) {
            Some(close) => error.hint(format!("did you mean {close}()?")).into(),
            None => error.into(),
        }
    }

    fn operator(&mut self, tree: &IdedExpr, sign: Sign, call: &CallExpr) -> Lowered {
        let mut operands = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            operands.push(self.expr(arg)?);
        }
        let kinds: Vec<_> = operands.iter().map(|operand| operand.kind).collect();
        let kind = check::operator(sign, &kinds).ok_or_else(|| {
            let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            let message = format!("{} does not take {}", sign.text(), names.join(" and "));
            let error = self.error(tree, "wrong_type", message);
            match check::conversion(sign, &kinds) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        if let [a, b] = &operands[..]
            && check::may_drop_fraction(sign, [(&a.node, a.kind), (&b.node, b.kind)])
        {
            self.divisions.push(self.places.offset_for(tree.id).map_or(0, |(start, _)| start as usize));
        }
        if matches!(sign, Sign::Arith(_) | Sign::Negate) {
            let fields = operands.iter().filter_map(|operand| match &operand.node {
                Node::Field(field) if field.root == Root::Event && operand.kind == Type::Dyn => {
                    Some(field.name.clone())
                }
                _ => None,
            });
            let offset = self.places.offset_for(tree.id).map_or(0, |(start, _)| start as usize);
            self.event_operands.extend(fields.map(|name| (name, offset)));
        }
        let mut nodes = operands.into_iter().map(|operand| operand.node);
        let (Some(first), second, third) = (nodes.next(), nodes.next(), nodes.next()) else {
            return Err(Stop::Fallback);
        };
        let node = match (sign, second, third) {
            (Sign::Not, None, None) => Node::Not(Box::new(first)),
            (Sign::Negate, None, None) => Node::Negate(Box::new(first)),
            (Sign::Cond, Some(yes), Some(no)) => Node::Cond(Box::new([first, yes, no])),
            (sign, Some(second), None) => binary(sign, Box::new([first, second])).ok_or(Stop::Fallback)?,
            _ => return Err(Stop::Fallback),
        };
        Ok(typed(node, kind))
    }

    fn map(&mut self, entries: &[cel::common::ast::IdedEntryExpr]) -> Lowered {
        let mut pairs = Vec::with_capacity(entries.len());
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(Stop::Fallback);
            };
            let key = self.expr(&entry.key)?;
            // Only the crate has maps with keys of other types.
            if entry.optional || !key.kind.may_be(Type::Str) {
                return Err(Stop::Fallback);
            }
            pairs.push([key.node, self.expr(&entry.value)?.node]);
        }
        let mut shape = Shape::empty();
        for [key, _] in &pairs {
            match key {
                Node::Const(Value::Str(name)) if shape.slot_of(name).is_none() => {
                    shape.push(name.clone());
                }
                _ => return Ok(typed(Node::Map(pairs), Type::Map)),
            }
        }
        let values = pairs.into_iter().map(|[_, value]| value).collect();
        Ok(typed(Node::Record(shape, values), Type::Map))
    }

    fn run(&mut self, tree: &IdedExpr, parts: &macros::Parts<'_>) -> Lowered {
        let range = self.expr(parts.range)?;
        if !range.kind.may_be(Type::List) && !range.kind.may_be(Type::Map) {
            let message = format!("a {} has no elements", range.kind.name());
            return Err(self.error(tree, "wrong_type", message).into());
        }
        let before = self.nodes;
        let variable = if range.kind == Type::Map { Type::Str } else { Type::Dyn };
        self.locals.push((parts.variable.to_owned(), variable));
        let inner = self.inside(tree, parts);
        self.locals.pop();
        let (filter, body) = inner?;
        let code = Loop { kind: parts.kind, range: range.node, filter, body, nodes: 1 + self.nodes - before };
        Ok(typed(Node::Loop(Box::new(code)), parts.result()))
    }

    fn inside(&mut self, tree: &IdedExpr, parts: &macros::Parts<'_>) -> Result<(Option<Node>, Node), Stop> {
        let filter = match parts.filter {
            Some(filter) => Some(self.expr(filter)?),
            None => None,
        };
        let body = self.expr(parts.body)?;
        let predicate = filter.as_ref().map(|f| f.kind);
        let predicate = predicate.or((parts.result() == Type::Bool).then_some(body.kind));
        if let Some(kind) = predicate.filter(|kind| !kind.may_be(Type::Bool)) {
            let message = format!("the condition is a {}, not a bool", kind.name());
            return Err(self.error(tree, "wrong_type", message).into());
        }
        Ok((filter.map(|f| f.node), body.node))
    }

    /// Computes what depends on nothing. Errors are left for when it runs: the
    /// other side of an `&&` may make them harmless.
    fn fold(&self, typed: Typed) -> Typed {
        if let Some(decided) = check::decided(&typed.node) {
            return constant(Value::Bool(decided));
        }
        if !check::is_constant(&typed.node) {
            return typed;
        }
        let value = {
            let scope = Scope::default();
            let mut cost = Cost::new(FOLD_COST);
            let limits = Limits { value_bytes: FOLD_BYTES, ..*self.limits };
            let mut eval = Eval { scope: &scope, cost: &mut cost, limits: &limits };
            let result = eval.eval(&typed.node, None);
            result.and_then(|operand| operand.into_value(&limits)).ok()
        };
        match value {
            Some(value) if value.weight() > FOLD_BYTES => typed,
            // dyn() is there to hide the type.
            Some(value) if matches!(typed.node, Node::Call(Function::Dyn, _)) => {
                Typed { node: Node::Const(value), kind: Type::Dyn }
            }
            Some(value) => constant(value),
            _ => typed,
        }
    }

    fn fall_back(&self, tree: IdedExpr) -> Result<Compiled, CompileError> {
        let references = tree.references();
        if macros::has_loop(&tree) {
            let message =
                "a loop cannot be combined with optional values, or with maps whose keys are no strings".to_owned();
            return Err(self.error(&tree, "unsupported", message).hint(
                "ask with has() and ?: instead of an optional value, and make a string of a key; or assign the one of the \
                 two to the context first",
            ));
        }
        if let Some(name) = fallback::stranger(&references.functions()) {
            let message = format!("there is no function {name}()");
            return Err(self.error(&tree, "unknown_function", message));
        }
        let mut roots = Roots::default();
        for name in references.variables() {
            match self.env.lookup(name) {
                Some((root, _)) => roots.add(root),
                None if type_named(name).is_some() => {}
                None if fallback::is_namespace(name) => {}
                None => {
                    let message = format!("there is no {name:?} here");
                    return Err(CompileError::new(0, "unknown_root", message));
                }
            }
        }
        Ok(Compiled {
            code: Code::Fallback(Fallback::new(tree)),
            kind: Type::Dyn,
            roots,
            nodes: 100 + self.nodes,
            divisions: Vec::new(),
            context_keys: Vec::new(),
            event_operands: Vec::new(),
        })
    }
}

fn typed(node: Node, kind: Type) -> Typed {
    Typed { node, kind }
}

fn constant(value: Value) -> Typed {
    let kind = kind_of(&value);
    typed(Node::Const(value), kind)
}

fn literal_value(literal: &LiteralValue) -> Value {
    match literal {
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Bytes(bytes) => Value::Bytes(bytes.inner().into()),
        LiteralValue::Double(value) => Value::Double(*value.inner()),
        LiteralValue::Int(value) => Value::Int(*value.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(text) => Value::str(text.inner()),
        LiteralValue::UInt(value) => Value::Uint(*value.inner()),
    }
}

/// `a.b.c` as one name.
fn qualified(tree: &IdedExpr) -> Option<String> {
    match &tree.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => Some(format!("{}.{}", qualified(&select.operand)?, select.field)),
        _ => None,
    }
}

fn type_named(name: &str) -> Option<Type> {
    const NAMED: [Type; 12] = [
        Type::Null,
        Type::Bool,
        Type::Int,
        Type::Uint,
        Type::Double,
        Type::Str,
        Type::Bytes,
        Type::List,
        Type::Map,
        Type::Timestamp,
        Type::Duration,
        Type::Type,
    ];
    NAMED.into_iter().find(|kind| kind.name() == name)
}

fn binary(sign: Sign, sides: Box<[Node; 2]>) -> Option<Node> {
    Some(match sign {
        Sign::And => Node::And(sides),
        Sign::Or => Node::Or(sides),
        Sign::Arith(op) => Node::Arith(op, sides),
        Sign::Equal => Node::Equal(false, sides),
        Sign::NotEqual => Node::Equal(true, sides),
        Sign::Order(op) => Node::Order(op, sides),
        Sign::In => Node::In(sides),
        Sign::Index => Node::Index(sides),
        Sign::Not | Sign::Negate | Sign::Cond => return None,
    })
}

/// An operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Not,
    Negate,
    And,
    Or,
    Cond,
    Arith(Arith),
    Equal,
    NotEqual,
    Order(Order),
    In,
    Index,
}

impl Sign {
    fn of(name: &str) -> Option<Sign> {
        Some(match name {
            op::LOGICAL_NOT => Sign::Not,
            op::NEGATE => Sign::Negate,
            op::LOGICAL_AND => Sign::And,
            op::LOGICAL_OR => Sign::Or,
            op::CONDITIONAL => Sign::Cond,
            op::ADD => Sign::Arith(Arith::Add),
            op::SUBSTRACT => Sign::Arith(Arith::Sub),
            op::MULTIPLY => Sign::Arith(Arith::Mul),
            op::DIVIDE => Sign::Arith(Arith::Div),
            op::MODULO => Sign::Arith(Arith::Rem),
            op::EQUALS => Sign::Equal,
            op::NOT_EQUALS => Sign::NotEqual,
            op::LESS => Sign::Order(Order::Less),
            op::LESS_EQUALS => Sign::Order(Order::LessEqual),
            op::GREATER => Sign::Order(Order::Greater),
            op::GREATER_EQUALS => Sign::Order(Order::GreaterEqual),
            op::IN => Sign::In,
            op::INDEX => Sign::Index,
            _ => return None,
        })
    }

    /// As it is written.
    pub(super) fn text(self) -> &'static str {
        match self {
            Sign::Not => "!",
            Sign::Negate => "-",
            Sign::And => "&&",
            Sign::Or => "||",
            Sign::Cond => "?:",
            Sign::Arith(Arith::Add) => "+",
            Sign::Arith(Arith::Sub) => "-",
            Sign::Arith(Arith::Mul) => "*",
            Sign::Arith(Arith::Div) => "/",
            Sign::Arith(Arith::Rem) => "%",
            Sign::Equal => "==",
            Sign::NotEqual => "!=",
            Sign::Order(Order::Less) => "<",
            Sign::Order(Order::LessEqual) => "<=",
            Sign::Order(Order::Greater) => ">",
            Sign::Order(Order::GreaterEqual) => ">=",
            Sign::In => "in",
            Sign::Index => "[]",
        }
    }
}
