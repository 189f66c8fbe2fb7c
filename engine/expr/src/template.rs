//! Data with expressions in it: `{"id": {"@expr": "context.id"}, "n": 1}`.
//! What is constant is built once and shared.

use crate::cel::{CompileError, Env, EvalError, Program, Roots, Scope, Type};
use crate::cost::Cost;
use crate::limits::Limits;
use crate::list::List;
use crate::map::{Map, Shape};
use crate::value::Value;

/// The key that marks an expression, and the one that says its language.
const EXPR: &str = "@expr";
const LANG: &str = "@lang";

/// An expression in a template that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error} (in {path:?})")]
pub struct TemplateError {
    /// Where in the template: a JSON pointer, empty for the template itself.
    pub path: String,
    /// What is wrong there.
    pub error: CompileError,
}

/// Nested data that may hold expressions, compiled.
#[derive(Debug, Clone)]
pub struct Template {
    node: Node,
    roots: Roots,
    limits: Limits,
}

#[derive(Debug, Clone)]
enum Node {
    Const(Value),
    Expr(Program),
    List(Vec<Node>),
    Map(Shape, Vec<Node>),
}

impl Template {
    /// Compiles data whose maps with a key `@expr` are expressions, in the
    /// language `@lang` says or else in `default_lang`. CEL (`cel`) is the only
    /// one there is.
    ///
    /// # Errors
    /// For the first expression that is refused, with its place.
    pub fn compile(data: &Value, default_lang: &str, env: &Env, limits: &Limits) -> Result<Template, TemplateError> {
        let mut compiler = Compiler { default_lang, env, limits, path: String::new(), roots: Roots::default() };
        match compiler.node(data, limits.capped_depth()) {
            Ok(node) => Ok(Template { node, roots: compiler.roots, limits: *limits }),
            Err(error) => Err(TemplateError { path: compiler.path, error }),
        }
    }

    /// The value, when it is the same in every scope.
    pub fn constant(&self) -> Option<&Value> {
        match &self.node {
            Node::Const(value) => Some(value),
            Node::Expr(program) => program.constant(),
            _ => None,
        }
    }

    /// The expression, when the template is nothing else.
    pub fn program(&self) -> Option<&Program> {
        match &self.node {
            Node::Expr(program) => Some(program),
            _ => None,
        }
    }

    /// The roots that its expressions may read.
    pub fn roots(&self) -> Roots {
        self.roots
    }

    /// The type of its value, as far as is known.
    pub fn result_type(&self) -> Type {
        match &self.node {
            Node::Const(value) => crate::cel::kind_of(value),
            Node::Expr(program) => program.result_type(),
            Node::List(_) => Type::List,
            Node::Map(..) => Type::Map,
        }
    }

    /// How many of its expressions are left to the `cel` crate.
    pub fn fallbacks(&self) -> usize {
        self.node.fallbacks()
    }

    /// Its value in `scope`.
    ///
    /// # Errors
    /// The first that an expression gives, or when the whole exceeds the
    /// limits it was compiled with.
    pub fn eval(&self, scope: &Scope<'_>, cost: &mut Cost) -> Result<Value, EvalError> {
        let value = self.node.eval(scope, cost)?;
        self.limits.admit(value)
    }
}

impl Node {
    fn eval(&self, scope: &Scope<'_>, cost: &mut Cost) -> Result<Value, EvalError> {
        let all = |nodes: &[Node], cost: &mut Cost| {
            let mut values = Vec::with_capacity(nodes.len());
            for node in nodes {
                values.push(node.eval(scope, cost)?);
            }
            Ok::<_, EvalError>(values)
        };
        Ok(match self {
            Node::Const(value) => value.clone(),
            Node::Expr(program) => program.eval(scope, cost)?,
            Node::List(nodes) => List::from(all(nodes, cost)?).into(),
            Node::Map(shape, nodes) => Map::with_shape(shape.clone(), all(nodes, cost)?).into(),
        })
    }

    fn fallbacks(&self) -> usize {
        match self {
            Node::Const(_) => 0,
            Node::Expr(program) => usize::from(program.is_fallback()),
            Node::List(nodes) | Node::Map(_, nodes) => nodes.iter().map(Node::fallbacks).sum(),
        }
    }

    fn constant(&self) -> Option<&Value> {
        match self {
            Node::Const(value) => Some(value),
            _ => None,
        }
    }
}

/// The values of `nodes` if none depends on the scope.
fn constants(nodes: &[Node]) -> Option<Vec<Value>> {
    nodes.iter().map(|node| node.constant().cloned()).collect()
}

struct Compiler<'c> {
    default_lang: &'c str,
    env: &'c Env,
    limits: &'c Limits,
    path: String,
    roots: Roots,
}

impl Compiler<'_> {
    /// Recursion is bounded by `levels`.
    fn node(&mut self, data: &Value, levels: usize) -> Result<Node, CompileError> {
        let Some(below) = levels.checked_sub(1) else {
            let message = format!("the data nests more than {} levels", self.limits.depth);
            return Err(CompileError::new(0, "template_too_deep", message));
        };
        match data {
            Value::Map(map) if map.contains_key(EXPR) => self.expression(map),
            Value::Map(map) => {
                let mut nodes = Vec::with_capacity(map.len());
                for (key, value) in map.iter() {
                    nodes.push(self.child(key, value, below)?);
                }
                let shape = map.shape().clone();
                Ok(match constants(&nodes) {
                    Some(values) => Node::Const(Map::with_shape(shape, values).into()),
                    None => Node::Map(shape, nodes),
                })
            }
            Value::List(list) => {
                let mut nodes = Vec::with_capacity(list.len());
                for (n, value) in list.iter().enumerate() {
                    nodes.push(self.child(&n.to_string(), value, below)?);
                }
                Ok(match constants(&nodes) {
                    Some(values) => Node::Const(List::from(values).into()),
                    None => Node::List(nodes),
                })
            }
            scalar => Ok(Node::Const(scalar.clone())),
        }
    }

    /// What is at `key`; the path stays as it is at an error.
    fn child(&mut self, key: &str, data: &Value, levels: usize) -> Result<Node, CompileError> {
        let len = self.path.len();
        self.path.push('/');
        self.path.push_str(&key.replace('~', "~0").replace('/', "~1"));
        let node = self.node(data, levels)?;
        self.path.truncate(len);
        Ok(node)
    }

    fn expression(&mut self, map: &Map) -> Result<Node, CompileError> {
        let wrong = |message: &str| CompileError::new(0, "bad_expression_object", message.to_owned());
        let stray = map.keys().find(|key| ![EXPR, LANG].contains(&key.as_str()));
        if let Some(key) = stray {
            let message = format!("{key:?} beside {EXPR:?} has no meaning");
            return Err(wrong(&message).hint("an expression object has only @expr and @lang"));
        }
        let Some(source) = map.get(EXPR).and_then(Value::as_str) else {
            return Err(wrong("@expr must be a string"));
        };
        let lang = match map.get(LANG) {
            None => self.default_lang,
            Some(lang) => lang.as_str().ok_or_else(|| wrong("@lang must be a string"))?,
        };
        if lang != "cel" {
            let message = format!("there is no expression language {lang:?}");
            return Err(CompileError::new(0, "unknown_language", message)
                .hint("write the expression in CEL: \"@lang\":\"cel\""));
        }
        let program = Program::compile(source, self.env, self.limits)?;
        self.roots = self.roots.union(program.roots());
        Ok(match program.constant() {
            Some(value) => Node::Const(value.clone()),
            None => Node::Expr(program),
        })
    }
}
