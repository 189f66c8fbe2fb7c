//! What a daemon has on its disk.
pub mod batch;
pub mod checkpoint;
pub mod disk;
pub mod header;
pub mod journal;
pub mod recover;
pub mod runner;
pub mod segment;
pub mod segments;
pub mod storage;
mod supply;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod thread;
pub mod volume;
