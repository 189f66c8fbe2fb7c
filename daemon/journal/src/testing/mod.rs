//! A virtual disk, for tests and the simulator.

mod chance;
mod sim_disk;

pub use chance::Chance;
pub use sim_disk::{Counts, Faults, SimDisk, SimFile, SimLock};
