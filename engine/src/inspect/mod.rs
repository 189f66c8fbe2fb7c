//! Machines and instances looked at: drawn, explained, and run in virtual time. None of it changes what a step does.

mod active_states;
pub(crate) mod draw;
pub(crate) mod explain;
mod selection_trace;
pub(crate) mod simulate;
