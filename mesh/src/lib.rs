//! Who is there, who owns what, and how a request finds it.
//!
//! Everything in here is sans-I/O: values that take what happened and the time, and say what to do next
//! and when to be woken. Each has `handle(input, now)`, `poll() -> Option<Output>` and `next_deadline()`.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests begin at some time"))]

pub mod definitions;
pub mod delivery;
pub mod discovery;
pub mod gossip;
pub mod key_index;
pub mod lease;
pub mod membership;
pub mod ownership;
pub mod placement;
pub mod replication;
pub mod routing;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod view;
