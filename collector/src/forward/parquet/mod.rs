//! The parquet sink: the log as a table of files, in a local directory or an S3-compatible bucket. Exactly once.
//!
//! - `config`: `[forward.parquet]`
//! - `sink`: parts and the state object, which make it exactly once; `state`: that object
//! - `encoder`: events into the files of a part; `row`: an event as a row; `columns`: the rows of one file; `uniform`:
//!   columns of which all rows are the same; `schema`: the columns
//! - `names`: names of files; `present`: which events are there already
//! - `store`: the directory or the bucket
//! - [`export`]: a log's files into the same layout, without a forward
//!
//! `README.md` beside this file is for the people who read the files.

#[cfg(feature = "parquet")]
mod columns;
mod config;
mod destination;
#[cfg(feature = "parquet")]
mod encoder;
#[cfg(feature = "parquet")]
pub mod export;
#[cfg(feature = "parquet")]
mod names;
#[cfg(feature = "parquet")]
mod present;
#[cfg(feature = "parquet")]
mod row;
#[cfg(feature = "parquet")]
mod schema;
#[cfg(feature = "parquet")]
mod sink;
#[cfg(feature = "parquet")]
mod state;
#[cfg(feature = "parquet")]
mod store;
#[cfg(feature = "parquet")]
mod uniform;

pub use config::{ParquetConfig, S3Config};
