//! The PostgreSQL sink: events as rows of a table. Exactly once: the checkpoint is a row of the same transaction.
//! What arrives is described in this folder's `README.md`.
//!
//! - `config`: `[forward.postgres]`; `settings`: what follows from it; `tls`: its `sslmode`
//! - `connection`: a session with the server; `error`: what a failure means, and what to do
//! - `schema`: the tables, made and checked; `days`: a partition of the table for each day
//! - `row`: an event as a row of a binary `COPY`
//! - `checkpoint`: the row that says how far the forward has come
//! - `transaction`: brings both; `sink`: makes parts of events

#[cfg(feature = "postgres")]
mod checkpoint;
mod config;
#[cfg(feature = "postgres")]
mod connection;
#[cfg(feature = "postgres")]
mod days;
mod destination;
#[cfg(feature = "postgres")]
mod error;
#[cfg(feature = "postgres")]
mod row;
#[cfg(feature = "postgres")]
mod schema;
#[cfg(feature = "postgres")]
mod settings;
#[cfg(feature = "postgres")]
mod sink;
#[cfg(feature = "postgres")]
mod tls;
#[cfg(feature = "postgres")]
mod transaction;

pub use config::{PostgresConfig, SslMode};
