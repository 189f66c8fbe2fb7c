//! The runtime of one daemon: reactors, shards, routing and hand-off, as a library, so that tests can run many in one process.

pub mod access;
mod answers;
mod arena;
mod batch;
mod command;
mod control;
pub mod counters;
mod forward;
#[cfg(fuzzing)]
pub mod fuzzing;
mod history;
mod instance;
mod levels;
mod machines;
pub mod metrics;
mod node;
pub mod options;
mod peer_wire;
mod peers;
mod shard;
mod shared;
mod stages;
mod subscribers;
mod transfer;
mod view;
mod worker;

pub use node::{CallError, Handle, LeaveReport, Node, Readiness, StartError};
pub use options::Options;
