//! What a daemon has on its disk (`docs/reference/formats.md`): which volume it is, a journal of records with group commit, checkpoints of
//! shards, and how all of it is read back after a crash.
//!
//! What is decided is decided by values ([`journal`], [`recover`], [`batch`], [`segment`]); what touches files does so through
//! [`storage::Storage`], so that all of it runs over a virtual disk too (`testing`). [`disk`] and [`thread`] are the shells.

pub mod batch;
pub mod born;
pub mod checkpoint;
pub mod definitions;
pub mod disk;
pub mod header;
pub mod journal;
pub mod recover;
pub mod replay;
pub mod runner;
pub mod segment;
pub mod segments;
pub mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod thread;
pub mod volume;
