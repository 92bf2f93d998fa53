//! The simulated plant: the agents' and the collector's real cores on machines, disks and a network that a seed decides;
//! and the real processes, for what no simulation can tell.
//!
//! - [`rng`], [`faults`], [`trace`]: chance, what went wrong how often, what happened
//! - [`sim_disk`] (and [`cheating_disk`]), [`sim_net`], [`sim_clock`]: the world that the cores run in
//! - [`oracle`]: the judge, with its own ledger; [`oracle_reader`]: its own reader of the disks
//! - [`plant`]: agents and a collector wired up, driven and hurt
//! - [`planted`]: bugs that the plant must find, made at the seams so that the real code has no hooks
//! - [`runner`]: many seeds on all cores; [`pair`]: one agent and one collector, driven by hand
//! - [`said`]: signed messages of the session, made by hand
//! - [`process`]: agent and collector as processes

pub use afferent_host::disk::simulated::rng;

pub mod cheating_disk;
pub mod faults;
pub mod oracle;
pub mod oracle_reader;
pub mod pair;
pub mod plant;
pub mod planted;
pub mod process;
pub mod runner;
pub mod said;
pub mod sim_clock;
pub mod sim_disk;
pub mod sim_net;
pub mod trace;
