//! The agent: a machine's events into a crash-safe ring log, and over MQTT to the collector.
//!
//! The modules, in the order in which an event passes them:
//!
//! - [`intake`]: sockets, this machine, children and files; [`client`]: the producer's side of the socket
//! - [`sequencer`]: where all intakes meet; events are encoded into the open batch of their stream
//! - [`mailbox`]: the lock under which intakes, writer and transport meet
//! - [`writer`]: the one thread that owns the [`core`]: it commits batches and keeps the session going
//! - [`ring_log`]: where batches become durable, and stay until the collector has them on its disk
//! - [`ship`]: the MQTT connection
//!
//! Put together they are an [`agent`], for programs that carry one inside, and with everything that a configuration
//! asks for, [`run`]. Around them stand [`cli`], [`mod@check`] (with [`certificate`] and [`look`]) and [`config`] (of
//! [`section`]s); [`trust`]: which collectors are believed; [`identity`] and [`keep`] of the data directory;
//! [`clock`], [`limits`];
//! [`supervise`] and [`trouble`]: what has died or goes wrong; [`metrics`], [`http`] and [`notify`] for those who watch
//! the agent.

pub mod agent;
pub mod certificate;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod core;
pub mod http;
pub mod identity;
pub mod intake;
pub mod keep;
pub mod limits;
pub mod look;
pub mod mailbox;
pub mod metrics;
pub mod notify;
pub mod ring_log;
pub mod run;
pub mod section;
pub mod sequencer;
pub mod ship;
pub mod supervise;
pub mod trouble;
pub mod trust;
pub mod writer;
