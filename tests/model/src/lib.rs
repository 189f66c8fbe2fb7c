//! Proofs of the replication core (`mesh/src/replication`).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a crate of tests")]

use statemesh_mesh::replication;

pub mod check;
pub mod model;
pub mod node;
