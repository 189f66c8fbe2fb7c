//! The runtime of one daemon: reactors, shards, routing and hand-off, as a library, so that tests can run many in one process.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests begin at some time"))]

pub mod access;
mod beats;
mod bounds;
mod control;
pub mod counters;
mod directory;
mod gauges;
mod journaling;
pub mod limits;
mod local_ops;
mod mailbox;
pub mod metrics;
mod node;
pub mod options;
#[doc(hidden)]
pub mod parts;
mod peers;
mod process;
pub mod resolver;
mod shared;
mod subscribers;
mod volume;
mod worker;

pub use control::LoadError;
pub use node::{CallError, GossipKeysError, Handle, LeaveReport, Node, Readiness, StartError};
pub use options::Options;
pub use volume::{FileRefused, KeepError, StoredError, VolumeRefused};
