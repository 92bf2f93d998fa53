//! The collector: one unified, immutable, replayable log of what all agents sent.
//!
//! The modules, in the order in which an event passes them:
//!
//! - [`core`]: admission: what comes in is checked, and refused, kept back or appended
//! - [`sources`]: what is known of every agent; rebuilt from the log at every start
//! - [`log`]: the unified log: appending, committing, recovery, reading, verifying
//! - [`limits`]: every limit of the collector

pub mod core;
pub mod limits;
pub mod log;
#[cfg(test)]
mod simulated;
pub mod sources;
