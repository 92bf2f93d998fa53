//! What a microcontroller sends to the agent: breakdowns, alarms and samples, once and in order or declared as lost.
//!
//! No std, no alloc, no unsafe. The modules, in the order in which an event passes them:
//!
//! - [`sensor`]: readings to alarms and breakdowns; [`crash`]: what a controller knows of its own last crash
//! - [`recorder`]: from tasks and interrupts to the main loop, without waiting
//! - [`rows`]: events to the body of a batch; [`stored`]: a sealed batch as it is kept
//! - [`queue`]: where sealed batches lie until the agent has them: RAM, RAM that outlives a reset, NOR flash
//! - [`stream_log`] and [`log`]: sequences, epochs, holes, and what gives way to what
//! - [`session`]: what to send to the agent, and what its answers mean; [`link`]: the session over a serial line
//! - [`clock`]: ticks and UTC
//! - [`device`]: all of it behind three calls; [`limits`]: every limit
//!
//! `README.md` of this crate specifies the wire, the sizes and what survives which failure.

#![no_std]

#[cfg(test)]
extern crate std;

pub use afferent_protocol as protocol;

pub mod clock;
pub mod crash;
pub mod device;
pub mod limits;
pub mod link;
pub mod log;
pub mod queue;
mod random;
pub mod recorder;
pub mod rows;
pub mod sensor;
pub mod session;
pub mod stored;
pub mod stream_log;
