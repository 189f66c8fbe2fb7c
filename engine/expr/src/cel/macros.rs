//! Recognising macros. The parser has expanded `all`, `exists`, `exists_one`,
//! `map` and `filter` to general folds over an accumulator; taken literally,
//! `map` would copy its result once for each element.

use super::env::Type;
use super::node::LoopKind;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators as op};

/// A macro's parts.
pub(super) struct Parts<'t> {
    pub(super) kind: LoopKind,
    pub(super) variable: &'t str,
    pub(super) range: &'t IdedExpr,
    pub(super) filter: Option<&'t IdedExpr>,
    pub(super) body: &'t IdedExpr,
}

impl Parts<'_> {
    /// The type of what it gives.
    pub(super) fn result(&self) -> Type {
        match self.kind {
            LoopKind::Collect => Type::List,
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Type::Bool,
        }
    }
}

/// The macro that `fold` is the expansion of.
pub(super) fn recognise(fold: &ComprehensionExpr) -> Option<Parts<'_>> {
    if fold.iter_var2.is_some() {
        return None;
    }
    let accu = fold.accu_var.as_str();
    let step = call(&fold.loop_step)?;
    let (kind, filter, body) = match (&fold.accu_init.expr, step.func_name.as_str(), &step.args[..]) {
        (Expr::Literal(LiteralValue::Boolean(init)), op::LOGICAL_AND, [a, body])
            if *init.inner() && is_ident(a, accu) =>
        {
            (LoopKind::All, None, body)
        }
        (Expr::Literal(LiteralValue::Boolean(init)), op::LOGICAL_OR, [a, body])
            if !*init.inner() && is_ident(a, accu) =>
        {
            (LoopKind::Exists, None, body)
        }
        (Expr::Literal(LiteralValue::Int(_)), op::CONDITIONAL, [body, _, no]) if is_ident(no, accu) => {
            (LoopKind::ExistsOne, None, body)
        }
        (Expr::List(_), op::CONDITIONAL, [filter, yes, no]) if is_ident(no, accu) => {
            (LoopKind::Collect, Some(filter), appended(yes, accu)?)
        }
        (Expr::List(_), op::ADD, _) => (LoopKind::Collect, None, appended(&fold.loop_step, accu)?),
        _ => return None,
    };
    Some(Parts { kind, variable: &fold.iter_var, range: &fold.iter_range, filter, body })
}

/// The `x` of `accu + [x]`.
fn appended<'t>(tree: &'t IdedExpr, accu: &str) -> Option<&'t IdedExpr> {
    let sum = call(tree)?;
    let [a, b] = &sum.args[..] else {
        return None;
    };
    let Expr::List(list) = &b.expr else {
        return None;
    };
    let [item] = &list.elements[..] else {
        return None;
    };
    (sum.func_name == op::ADD && is_ident(a, accu)).then_some(item)
}

fn call(tree: &IdedExpr) -> Option<&CallExpr> {
    match &tree.expr {
        Expr::Call(call) => Some(call),
        _ => None,
    }
}

fn is_ident(tree: &IdedExpr, name: &str) -> bool {
    matches!(&tree.expr, Expr::Ident(ident) if ident == name)
}

/// Whether a loop is anywhere in `tree`. Recursion is as deep as the tree,
/// which was bounded before parsing.
pub(super) fn has_loop(tree: &IdedExpr) -> bool {
    match &tree.expr {
        Expr::Comprehension(_) => true,
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).any(has_loop),
        Expr::Select(select) => has_loop(&select.operand),
        Expr::List(list) => list.elements.iter().any(has_loop),
        Expr::Map(map) => map.entries.iter().any(|entry| entry_has_loop(&entry.expr)),
        Expr::Struct(built) => built.entries.iter().any(|entry| entry_has_loop(&entry.expr)),
        Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified => false,
    }
}

fn entry_has_loop(entry: &EntryExpr) -> bool {
    match entry {
        EntryExpr::MapEntry(entry) => has_loop(&entry.key) || has_loop(&entry.value),
        EntryExpr::StructField(field) => has_loop(&field.value),
    }
}
