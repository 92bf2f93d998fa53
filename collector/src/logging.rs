//! What the collector says of itself, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logging};

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not one.
    #[error("log.level: {level:?} is not a level or a filter: {error}; write error, warn, info, debug or trace")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong.
        error: String,
    },
    /// Somebody began before.
    #[error("logging was begun already")]
    Twice,
}

/// Begins logging, for the whole process.
pub fn begin(logging: &Logging) -> Result<(), LoggingError> {
    let filter = filter(logging)?;
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = match logging.format {
        LogFormat::Text => {
            tracing::subscriber::set_global_default(format.with_ansi(std::io::stderr().is_terminal()).finish())
        }
        LogFormat::Json => tracing::subscriber::set_global_default(format.json().flatten_event(true).finish()),
    };
    begun.map_err(|_| LoggingError::Twice)
}

/// Checks the level or filter without beginning.
pub fn check(logging: &Logging) -> Result<(), LoggingError> {
    filter(logging).map(drop)
}

fn filter(logging: &Logging) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder()
        .parse(&logging.level)
        .map_err(|error| LoggingError::Level { level: logging.level.clone(), error: error.to_string() })
}
