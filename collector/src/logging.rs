//! The collector's own log messages, on standard error.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, Logging};

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be parsed.
    #[error("log.level: {level:?} is not a level or a filter: {error}; write error, warn, info, debug or trace")]
    Level {
        /// The given filter.
        level: String,
        /// The error of the parser.
        error: String,
    },
    /// Logging has begun already.
    #[error("logging is already set up")]
    Twice,
}

/// Begins logging, for the whole process.
pub fn begin(logging: &Logging) -> Result<(), LoggingError> {
    let filter = filter(logging)?;
    let to_stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let to_stderr = match logging.format {
        LogFormat::Text => to_stderr.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => to_stderr.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(to_stderr.with_filter(filter)).try_init().map_err(|_| LoggingError::Twice)
}

/// Checks the level or filter without beginning.
pub fn check(logging: &Logging) -> Result<(), LoggingError> {
    filter(logging).map(drop)
}

fn filter(logging: &Logging) -> Result<Targets, LoggingError> {
    Targets::from_str(&logging.level)
        .map_err(|error| LoggingError::Level { level: logging.level.clone(), error: error.to_string() })
}
