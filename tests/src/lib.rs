//! The simulated plant: real cores, simulated disk, network and clock, all from one seed.

pub mod oracle_reader;
pub mod process;
