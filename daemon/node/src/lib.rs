//! The runtime of one daemon: reactors, shards, routing and hand-off, as a library, so that tests can run many in one process.

pub mod options;

pub use options::Options;
