//! A step: selection, exits, actions, entries, and the actors that take part in it.
//!
//! `api` is what callers see; `routes` and `short` answer it where one simple transition does; `tree` runs an instance
//! and its children; `macrostep` runs one actor on one event; `selection`, `microstep`, `actions` and `guards` are its
//! parts; `commit` writes the result back. Until then the instance is not touched.

mod actions;
mod api;
mod commit;
pub(crate) mod considered;
pub(crate) mod entry_exit;
mod guards;
mod macrostep;
mod microstep;
pub(crate) mod routes;
pub(crate) mod scratch;
mod selection;
pub(crate) mod short;
mod tree;
