//! The collector: one unified, immutable, replayable log of what all agents sent.
//!
//! The modules, in the order in which an event passes them:
//!
//! - [`core`]: admission: what comes in is checked, and refused, kept back or appended
//! - [`sources`]: what is known of every agent; rebuilt from the log at every start
//! - [`log`]: the unified log: appending, committing, recovery, reading, verifying
//! - [`subscribe`]: reading the log from any place; [`cloud_event`]: what readers get
//! - [`api`]: HTTP: events, the live stream, agents, metrics, health
//! - [`limits`]: every limit of the collector

pub mod api;
pub mod clock;
pub mod cloud_event;
pub mod core;
pub mod endpoint;
pub mod intake;
pub mod limits;
pub mod log;
pub mod sources;
pub mod subscribe;
