//! A virtual disk, for tests and the simulator.

mod chance;
mod faults;
mod node;
mod sim_disk;

pub use chance::Chance;
pub use faults::{Counts, Faults};
pub use sim_disk::{SimDisk, SimFile, SimLock};
