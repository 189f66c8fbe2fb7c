//! Proofs of the replication core (`mesh/src/replication`).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a crate of tests")]

use statemesh_mesh::replication;

pub mod bounds;
pub mod check;
pub mod model;
pub mod node;
pub mod start;
pub mod world;

#[cfg(all(test, feature = "mistakes"))]
mod mistakes {
    include!(concat!(env!("OUT_DIR"), "/mistakes.rs"));
}
#[cfg(all(test, feature = "mistakes"))]
mod tests;
