//! A step: selection, exits, actions, entries, and the actors that take part in it.
//!
//! `api` is what callers see; `routes` and `short` answer it where one simple transition does; `tree` runs an instance
//! and its children; `macrostep` runs one actor on one event; `selection`, `microstep`, `actions` and `guards` are its
//! parts; `commit` writes the result back, `made` bounds what is put out. Until then the instance is not touched. `held` is what becomes of an instance when a
//! step that nobody asked for is refused.

mod actions;
mod api;
mod commit;
pub(crate) mod considered;
pub(crate) mod entry_exit;
mod guards;
mod held;
mod macrostep;
mod made;
mod microstep;
pub(crate) mod routes;
pub(crate) mod scratch;
mod selection;
pub(crate) mod short;
mod tree;
