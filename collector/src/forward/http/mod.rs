//! What the sinks that speak HTTP share.
//!
//! - [`address`]: where a request may go
//! - `client`: connections with TLS and time limits
//! - `answer`: what an answer says

pub mod address;
pub(super) mod answer;
pub(super) mod client;
