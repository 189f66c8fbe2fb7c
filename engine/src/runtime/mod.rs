//! A step: selection, exits, actions, entries, and the actors that take part in it.
//!
//! `api` is what callers see; the compiled `fast_table` and `short` answer it where one simple transition does; `tree` runs an
//! instance and its children; `macrostep` runs one actor on one event; `selection`, `microstep`, `actions` and `guards` are its
//! parts; `commit` writes the result back, `made` bounds what is put out, `output` is where that goes. Until then the instance
//! is not touched. `held` is what becomes of an instance when a step that nobody asked for is refused.

mod actions;
mod api;
mod commit;
pub(crate) mod considered;
mod guards;
mod held;
mod macrostep;
mod made;
mod microstep;
mod output;
mod scratch;
mod selection;
mod short;
mod tree;

pub use output::Output;
