//! Intake: how events come in. The modules, in the order in which an event passes them:
//!
//! - [`kinds`]: the table of all kinds of inputs; [`input`]: what an input is
//! - [`socket`], [`host`], [`exec`], [`mod@file`], [`tail`], [`serial`]: where events come from
//! - `stderr`: the standard error of children
//! - [`mapping`]: what columns and fields mean that come from outside
//! - [`take`]: lines into the ring log, for inputs whose producer gets no answer
//! - [`lines`]: bytes to lines; [`mod@line`]: a line to an event; [`cell`], [`time`], [`mod@unit`]: what is in it
//! - [`sink`]: where every input hands over its events

pub mod cell;
pub mod exec;
pub mod file;
pub mod host;
pub mod input;
pub mod kinds;
pub mod line;
pub mod lines;
pub mod mapping;
pub mod serial;
pub mod sink;
pub mod socket;
mod stderr;
pub mod tail;
pub mod take;
pub mod time;
pub mod unit;
