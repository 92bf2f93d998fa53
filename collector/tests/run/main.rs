//! The whole collector, with its real log, from the first hello to the next start.

mod agent;
mod alone;
mod broker;
