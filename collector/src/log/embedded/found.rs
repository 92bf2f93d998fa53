//! Errors of reading and repairing the log's files.

use std::io;

/// Why the log cannot be opened. Damage is no reason: see [`crate::log::Recovery`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refuses to read or repair the log.
    #[error("{what} failed: {error}; check the disk and the permissions of the log's directory")]
    Disk {
        /// The attempted operation, with the file's name.
        what: String,
        /// The disk's error.
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn disk(what: &str, error: io::Error) -> Self {
        Self::Disk { what: what.to_owned(), error }
    }
}
