//! Client protocol 1: what clients and daemons say to each other, as bytes. `docs/reference/protocol.md` is its reference.

pub mod error;
pub mod reply;
pub mod request;
pub mod rights;
mod scan;
