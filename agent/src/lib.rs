//! The agent: a machine's events into a crash-safe ring log, and over MQTT to the collector.
//!
//! The modules, in the order in which an event passes them:
//!
//! - [`sequencer`]: where all intakes meet; events are encoded into the open batch of their stream
//! - [`writer`]: the one thread that owns the [`core`]: it commits batches and keeps the session going
//! - [`ring_log`]: where batches become durable, and stay until the collector has them on its disk
//! - [`ship`]: the MQTT connection
//! - [`agent`]: all of it put together

pub mod agent;
pub mod clock;
pub mod core;
pub mod http;
pub mod identity;
pub mod intake;
pub mod limits;
pub mod lock;
pub mod metrics;
pub mod notify;
pub mod ring_log;
pub mod sequencer;
pub mod ship;
pub mod stop;
pub mod writer;
