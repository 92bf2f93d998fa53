//! The webhook sink: events as HTTP requests. At least once; `source` and `id` of an event are its idempotency key.
//!
//! - `config`: `[forward.webhook]`
//! - `sink`: requests, in order for each machine
//! - `template`, `episodes`: bodies for other systems, one request a breakdown
//! - `signature`: Standard Webhooks
//! - `address`: where a request may go; `answer`: what its status means

mod address;
mod answer;
mod config;
mod destination;
mod episodes;
mod signature;
mod sink;
mod template;

pub use address::Network;
pub use config::{Mode, WebhookConfig};
