//! The webhook sink: events as HTTP requests. At least once; `source` and `id` of an event are its idempotency key.
//!
//! - `config`: `[forward.webhook]`
//! - `sink`: requests, in order for each machine
//! - `template`, `episodes`: bodies for other systems, one request a breakdown
//! - `signature`: Standard Webhooks
//! - `answer`: what the status of an answer means

mod answer;
mod config;
mod destination;
mod episodes;
mod signature;
mod sink;
mod template;

pub use config::{Mode, WebhookConfig};
