//! Whole daemons as they ship, in one process, one thread and virtual time.
//!
//! What runs is the daemon's own code: workers on their reactors, control plane, shards, links. Below it is a virtual kernel
//! ([`net`]): bytes, buffers that are full, cuts, resets, clocks. All choices follow from one seed, and a seed replays to the
//! byte.

pub mod ask;
pub mod book;
pub mod client;
pub mod command;
pub mod daemon;
pub mod dice;
pub mod dns;
pub mod endpoint;
pub mod finale;
pub mod hunt;
pub mod judge;
pub mod known;
pub mod log;
pub mod machines;
pub mod memory;
pub mod nemesis;
pub mod net;
pub mod outside;
pub mod scenario;
pub mod seed;
pub mod series;
pub mod trace;
pub mod watcher;
pub mod world;
