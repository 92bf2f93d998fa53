//! The agent: a machine's events into a crash-safe ring log, and over MQTT to the collector.
//!
//! The modules, in the order in which an event passes them:
//!
//! - [`intake`]: sockets, this machine, children and files; [`client`]: the producer's side of the socket
//! - [`ring_log`]: on this machine's disk
//!
//! And what stands around them: [`cli`] and [`config`]; [`identity`] and [`lock`] of the data directory; [`clock`],
//! [`limits`], [`stop`]; [`metrics`], [`http`] and [`notify`] for those who watch the agent.

pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod http;
pub mod identity;
pub mod intake;
pub mod limits;
pub mod lock;
pub mod metrics;
pub mod notify;
pub mod ring_log;
pub mod stop;
