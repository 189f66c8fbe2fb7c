//! Who is there, who owns what, and what daemons say to each other.
//!
//! Everything in here but [`resolver`] is sans-I/O: values that take what happened and the time, and say what to do next
//! and when to be woken. Each has `handle(input, now)`, `poll() -> Option<Output>` and `next_deadline()`.

pub mod client_protocol;
pub mod definitions;
pub mod discovery;
pub mod gossip;
pub mod identity;
pub mod membership;
pub mod ownership;
pub mod placement;
pub mod protocol;
pub mod resolver;
pub mod routing;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod view;
