//! A step: selection, exits, actions, entries, and the actors that take part in it.
//!
//! `api` is what callers see; the compiled `fast_table` and the fast path in `fast` answer it where one simple transition does.
//! Else `tree` runs an instance and its children, `macrostep` one actor on one event; `selection`, `microstep`, `actions` and
//! `guards` are its parts, `scratch` is what they work on. `commit` writes the result back, `made` bounds what is put out,
//! `output` is where that goes. Until then the instance is not touched. `held` is what becomes of an instance when a step that
//! no client asked for is refused.

mod actions;
mod api;
mod commit;
mod fast;
mod guards;
mod held;
mod macrostep;
mod made;
mod microstep;
mod output;
mod scratch;
mod selection;
mod tree;

pub(crate) use macrostep::{Actor, Current};
pub use output::Output;
pub(crate) use scratch::Fault;
