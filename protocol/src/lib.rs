//! Events, batches, log segments and sessions of Afferent.
//!
//! No std, no alloc and no IO by default; see the features in `Cargo.toml`. The modules, in the order in which an event
//! passes them:
//!
//! - [`ids`]: names and counters as types; [`limits`]: every limit
//! - [`event`]: what happened; [`record`]: an event with its sequence
//! - [`attestation`], [`endorsement`]: signed statements of a log's key about the log, and about other keys
//! - [`codec`]: records to bytes and back; [`batch`]: those bytes behind a header; [`sign`]: chain and signature
//! - [`segment`]: batches as entries in a log's file; [`scan`]: finding them again
//! - [`session`]: getting rid of one log by filling the next; [`topic`] and [`frame`]: on MQTT, on a serial line;
//!   [`piece`] there, [`clock_exchange`] and [`fragment`] here
//! - [`checksum`], [`version`]; [`wire`]: numbers and texts as bytes
//!
//! The formats are specified in `README.md` of this crate.

#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(feature = "sign")]
pub mod attestation;
pub mod batch;
pub mod checksum;
pub mod clock_exchange;
pub mod codec;
#[cfg(feature = "sign")]
pub mod endorsement;
pub mod event;
pub mod fragment;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod piece;
pub mod record;
pub mod scan;
pub mod segment;
pub mod session;
#[cfg(feature = "sign")]
pub mod sign;
pub mod topic;
pub mod version;
pub mod wire;
