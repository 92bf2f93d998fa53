//! The collector: one unified, immutable, replayable log of what all agents sent.
//!
//! The modules, in the order in which an event passes them:

pub mod cloud_event;
pub mod log;
