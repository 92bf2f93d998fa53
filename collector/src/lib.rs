//! The collector: one unified, immutable, replayable log of the events of all agents.
//!
//! The modules, in the order in which an event passes them:
//!
//! - [`endpoint`]: the MQTT server that agents connect to; [`broker`]: or the client of an external broker
//! - [`intake`]: the queue behind both, and the thread that writes; [`refused`]: refused names, with the reasons
//! - [`posted`]: events that come over HTTP instead, each of them once
//! - [`core`]: admission: checks batches, and refuses, keeps back or appends them
//! - [`sources`]: the facts about every agent; rebuilt from the log at every start
//! - [`log`]: the unified log: appending, committing, recovery, reading, verifying; [`indexing`]: the thread that makes
//!   its indexes; [`retention`]: the thread that removes old events; [`attesting`]: the thread that appends
//!   attestations to the operator's file; [`questions`]: the thread that finds where histories have parted
//! - [`terms`]: which places are in this log; [`partitions`]: the parts of the log that this collector holds
//! - [`subscribe`]: reading the log from any offset; [`cloud_event`]: events as readers get them
//! - [`certificate`]: the verified completeness of the log
//! - [`models`]: states that are folded from the log
//! - [`forward`]: the log in other systems
//! - [`mod@line`]: an event as a line for people
//! - [`api`]: HTTP: events, the live stream, agents, metrics, health; [`web`]: the page on top of it
//!
//! `up` (a feature) starts a collector and an agent for this machine; nothing else here knows the agent.
//!
//! Below them: [`kinds`], the table of the types of events; [`config`], [`data_directory`], [`logging`],
//! [`open_files`], [`seldom`], [`shares`]; [`supervise`] watches every task and thread, [`turns`] gives commits
//! priority over them; [`run`] starts all of them, and [`limits`] has every limit of the collector.

pub mod api;
pub mod attesting;
pub mod broker;
pub mod certificate;
pub mod cloud_event;
pub mod config;
pub mod core;
pub mod data_directory;
pub mod endpoint;
pub mod forward;
pub mod indexing;
pub mod intake;
mod jitter;
pub mod kinds;
pub mod limits;
pub mod line;
pub mod log;
pub mod logging;
pub mod models;
pub mod open_files;
pub mod partitions;
pub mod posted;
pub mod questions;
pub mod refused;
pub mod retention;
mod rfc3339;
pub mod run;
pub mod seldom;
pub mod shares;
#[cfg(test)]
mod simulated;
pub mod sources;
pub mod subscribe;
pub mod supervise;
pub mod terms;
pub mod tls_client;
pub mod tls_words;
pub mod turns;
#[cfg(feature = "up")]
pub mod up;
pub mod web;
pub mod whole;
