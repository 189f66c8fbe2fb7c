//! Who is there, who owns what, and what daemons say to each other.
//!
//! Everything in here but [`resolver`] is sans-I/O: values that take what happened and the time, and say what to do next
//! and when to be woken.

pub mod client_protocol;
pub mod gossip;
pub mod identity;
pub mod membership;
pub mod ownership;
pub mod placement;
pub mod routing;
pub mod view;
