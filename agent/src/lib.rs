//! The agent: a machine's events into a crash-safe ring log, and over MQTT to the collector.
//!
//! The modules, in the order in which an event passes them:

pub mod ring_log;
