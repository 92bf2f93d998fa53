//! What a microcontroller says to the agent: events and batches of [`afferent_protocol`], without std or alloc.
//!
//! So far this crate proves that the protocol, its session included, stands on its own in firmware; recorder, queue
//! and link are not written yet.

#![no_std]

pub use afferent_protocol as protocol;
