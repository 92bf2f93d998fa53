//! The commands.
//!
//! - [`run`]: `run` and `check`; `up`: everything at once, to begin with
//! - [`sub`], [`tap`], [`replay`]: read the log; [`named`], [`lag`]: by places that the collector keeps;
//!   [`emit`]: add to it; [`agents`], [`top`]: who is there and how it is. These speak to a running collector by HTTP
//!   ([`client`])
//! - [`certificate`]: prove from a log's files that nothing is missing ([`means`]: by which keys and witnesses)
//! - [`models`]: states that are folded from the log, by HTTP or from a log's files
//! - [`forward`]: how far other systems have the log
//! - [`completions`]: what a package puts beside the program
//! - [`key`]: the key that the log is signed with
//! - [`log`]: look at a log's files, without a collector ([`read_only`], [`progress`])

pub mod agents;
pub mod certificate;
mod client;
pub mod completions;
pub mod emit;
mod event_output;
#[cfg(feature = "parquet")]
mod export;
pub mod forward;
pub mod key;
pub mod lag;
pub mod log;
mod means;
pub mod models;
mod named;
mod progress;
mod read_only;
pub mod replay;
pub mod run;
pub mod sub;
pub mod tap;
#[cfg(feature = "top")]
pub mod top;
#[cfg(feature = "up")]
pub mod up;

use std::io;

/// What a collector runs on.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_keep_alive(afferent_collector::limits::BLOCKING_THREAD_IDLE_TIME).build()
}

/// Where the running collector is.
#[derive(Clone, Debug, clap::Args)]
pub struct Collector {
    /// The collector's HTTP address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: String,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A table for people.
    #[default]
    Table,
    /// One JSON document, or one per line.
    Json,
}

/// Whether writing failed because nobody reads any more, as after `| head`: that is no error.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
