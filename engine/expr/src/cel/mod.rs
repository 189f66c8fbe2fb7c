//! CEL, the Common Expression Language: parsed by the `cel` crate, compiled by
//! us to a tree that reads values in place, and left to the crate only where
//! it uses what we do not compile (`Program::is_fallback`).
//!
//! The way of an expression: [`scan`] bounds its text, the crate parses it,
//! [`lower`] resolves names, infers types ([`check`]) and folds constants,
//! [`eval`] runs it.

mod admit;
mod builtins;
mod check;
mod env;
mod error;
mod eval;
mod fallback;
mod fast;
mod lower;
mod macros;
mod node;
mod operand;
mod operators;
mod program;
mod scan;
mod suggest;

pub use env::{Env, Root, Roots, Scope, Type};
pub use error::{CompileError, EvalError, EvalFault};
pub(crate) use operand::kind_of;
pub use program::Program;
