//! What an expression can see: at compile time by name and type, at run time
//! by value.

use crate::map::Shape;
use crate::payload::Payload;
use crate::value::Value;

/// The names an expression can begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// The instance's data.
    Context,
    /// The event being processed.
    Event,
    /// The params of the guard or action.
    Params,
    /// What the machine was started with.
    Input,
    /// The output of the final state.
    Output,
    /// The snapshot of a child or of the machine itself.
    Snapshot,
}

impl Root {
    /// Every root.
    pub const ALL: [Root; 6] = [Root::Context, Root::Event, Root::Params, Root::Input, Root::Output, Root::Snapshot];

    /// The name in expressions.
    pub fn name(self) -> &'static str {
        match self {
            Root::Context => "context",
            Root::Event => "event",
            Root::Params => "params",
            Root::Input => "input",
            Root::Output => "output",
            Root::Snapshot => "snapshot",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roots(u8);

impl Roots {
    /// Whether `root` is in the set.
    pub fn contains(self, root: Root) -> bool {
        self.0 & root.bit() != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The roots in either set.
    #[must_use]
    pub fn union(self, other: Roots) -> Roots {
        Roots(self.0 | other.0)
    }

    /// The roots in the set.
    pub fn iter(self) -> impl Iterator<Item = Root> {
        Root::ALL.into_iter().filter(move |root| self.contains(*root))
    }

    pub(crate) fn add(&mut self, root: Root) {
        self.0 |= root.bit();
    }
}

/// What is known of an expression's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Type {
    /// Nothing: it is known when it runs.
    #[default]
    Dyn,
    /// null
    Null,
    /// bool
    Bool,
    /// int
    Int,
    /// uint
    Uint,
    /// double
    Double,
    /// string
    Str,
    /// bytes
    Bytes,
    /// list
    List,
    /// map
    Map,
    /// google.protobuf.Timestamp
    Timestamp,
    /// google.protobuf.Duration
    Duration,
    /// type, what `type(x)` gives
    Type,
}

impl Type {
    /// CEL's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Type::Dyn => "dyn",
            Type::Null => "null_type",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::Str => "string",
            Type::Bytes => "bytes",
            Type::List => "list",
            Type::Map => "map",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::Duration => "google.protobuf.Duration",
            Type::Type => "type",
        }
    }

    /// Whether a value of this type can be of type `other`.
    pub fn may_be(self, other: Type) -> bool {
        self == other || self == Type::Dyn || other == Type::Dyn
    }
}

/// What an expression may refer to. Roots that were not declared do not exist.
#[derive(Debug, Clone, Default)]
pub struct Env {
    declared: Vec<(Root, Declared)>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    pub(crate) kind: Type,
    pub(crate) shape: Option<Shape>,
    pub(crate) fields: Vec<(String, Type)>,
}

impl Env {
    /// An environment without roots: constant expressions only.
    pub fn new() -> Env {
        Env::default()
    }

    /// Declares `root`, of whatever type.
    #[must_use]
    pub fn with(self, root: Root) -> Env {
        self.with_type(root, Type::Dyn)
    }

    /// Declares `root` as being of type `kind`, always.
    #[must_use]
    pub fn with_type(mut self, root: Root, kind: Type) -> Env {
        self.declare(root).kind = kind;
        self
    }

    /// Declares `root` as usually looking like `model`: its fields are then
    /// read by slot. Values of another shape still work, a little slower; the
    /// model's types are not relied upon.
    #[must_use]
    pub fn with_model(mut self, root: Root, model: &Value) -> Env {
        self.declare(root).shape = model.as_map().map(|map| map.shape().clone());
        self
    }

    /// Declares `root` to have `field` of type `kind`, always (`event.type` is
    /// a string).
    #[must_use]
    pub fn with_field(mut self, root: Root, field: &str, kind: Type) -> Env {
        self.declare(root).fields.push((field.to_owned(), kind));
        self
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<(Root, &Declared)> {
        let found = self.declared.iter().find(|(root, _)| root.name() == name);
        found.map(|(root, declared)| (*root, declared))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.declared.iter().map(|(root, _)| root.name())
    }

    fn declare(&mut self, root: Root) -> &mut Declared {
        let at = match self.declared.iter().position(|(r, _)| *r == root) {
            Some(at) => at,
            None => {
                self.declared.push((root, Declared::default()));
                self.declared.len() - 1
            }
        };
        &mut self.declared[at].1
    }
}

/// The values of one evaluation. Lives on the stack; roots that do not apply
/// stay null or empty.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The instance's data.
    pub context: &'a Value,
    /// The event being processed.
    pub event: Payload<'a>,
    /// The params of the guard or action.
    pub params: &'a Value,
    /// What the machine was started with.
    pub input: Payload<'a>,
    /// The output of the final state.
    pub output: &'a Value,
    /// The snapshot of a child or of the machine itself.
    pub snapshot: &'a Value,
}

static NULL: Value = Value::Null;

impl<'a> Scope<'a> {
    /// A scope with a context and an event; set other roots by field.
    #[inline]
    pub fn new(context: &'a Value, event: Payload<'a>) -> Scope<'a> {
        Scope { context, event, params: &NULL, input: Payload::Empty, output: &NULL, snapshot: &NULL }
    }

    /// The value of `root`.
    #[inline]
    pub fn root(&self, root: Root) -> Payload<'a> {
        match root {
            Root::Context => Payload::Value(self.context),
            Root::Event => self.event,
            Root::Params => Payload::Value(self.params),
            Root::Input => self.input,
            Root::Output => Payload::Value(self.output),
            Root::Snapshot => Payload::Value(self.snapshot),
        }
    }
}

impl Default for Scope<'_> {
    fn default() -> Self {
        Scope::new(&NULL, Payload::Empty)
    }
}
