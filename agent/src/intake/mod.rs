//! Intake: how events come in. The modules, in the order in which an event passes them:
//!
//! - [`socket`], [`host`], [`exec`], [`mod@file`], [`serial`]: where events come from
//! - `stderr`: what children say beside it
//! - [`lines`]: bytes to lines; [`mod@line`]: a line to an event; [`cell`], [`time`], [`mod@unit`]: what stands in it
//! - [`sink`]: where every intake hands over its events

pub mod cell;
pub mod exec;
pub mod file;
pub mod host;
pub mod line;
pub mod lines;
pub mod serial;
pub mod sink;
pub mod socket;
mod stderr;
pub mod time;
pub mod unit;
