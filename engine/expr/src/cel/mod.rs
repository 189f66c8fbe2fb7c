//! CEL: parsed by the `cel` crate, compiled by us.
mod env;
mod error;
pub use env::{Env, Root, Roots, Scope, Type};
pub use error::{CompileError, EvalError, EvalFault};
