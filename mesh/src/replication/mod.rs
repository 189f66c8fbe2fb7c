//! Replicated places: Raft for one partition, as values without a clock, a thread, a socket or a disk.
//!
//! Nothing uses this yet. It follows Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version, 2014), and
//! Ongaro's dissertation (2014), whose sections the comments name.
//!
//! | file | what |
//! |---|---|
//! | `group.rs` | one copy of a place: its state, restarts, inputs that need no more than a line |
//! | `inputs.rs`, `outputs.rs`, `settings.rs` | what its shell tells it, what it asks of its shell, bounds and times |
//! | `receive.rs` | a message comes: whether it is for this copy, and what it is about |
//! | `term.rs` | whom it follows in its term, and what ends that |
//! | `life.rs` | how a life of a copy ends, and how the next begins |
//! | `vote.rs` | pre-votes and votes |
//! | `leader.rs`, `change.rs` | proposing, sending, committing; changing the copies, handing over |
//! | `answers.rs`, `progress.rs` | what followers answer; how far one follower is |
//! | `follower.rs` | taking a leader's entries, truncating, acknowledging what is durable, images |
//! | `log.rs`, `writes.rs` | the end of the log in memory; what the journal still owes |
//! | `config.rs` | voters, learners, lives of copies, majorities |
//! | `message.rs` | what copies say to each other |
//! | `liveness.rs` | which members are heard, for all groups of a daemon at once: no group has a heartbeat of its own |
//! | `barrier.rs` | reads: whether a leader still leads, asked once for all places of a turn |
//!
//! # Guarantees
//! At most one leader in a term. What is committed is in the log of every later leader, at the same index; no copy ever removes
//! it. Copies that have committed an index have the same entries up to it.
//!
//! # Assumptions
//! What the shell reports as durable survives, unless it reports damage. Writes become durable in the order in which they were
//! asked for. Time decides only when to ask for votes, never who leads.
//!
//! # Caveats
//! A disk that loses what it had synced is seen only by a leader that has heard of it in its own term.

mod answers;
pub mod barrier;
mod change;
pub mod config;
mod follower;
pub mod group;
pub mod inputs;
mod leader;
mod life;
pub mod liveness;
mod log;
pub mod message;
pub mod outputs;
mod progress;
mod receive;
pub mod settings;
mod term;
#[cfg(test)]
mod tests;
mod vote;
mod writes;

pub use leader::Refused;
pub use vote::Ballot;
