//! The agent: a machine's events into a crash-safe ring log, and over MQTT to the collector.
//!
//! The modules, in the order in which an event passes them:

pub mod clock;
pub mod http;
pub mod identity;
pub mod intake;
pub mod limits;
pub mod lock;
pub mod metrics;
pub mod notify;
pub mod ring_log;
pub mod stop;
