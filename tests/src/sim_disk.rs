//! The simulated disk, and the one that cheats.

pub use afferent_host::disk::simulated::{DiskFaults, SimDisk, SimFile};

pub use crate::cheating_disk::{CheatFile, CheatingDisk, DiskCheat};
