//! Why the log's files cannot be read or mended.

use std::io;

/// Why the log cannot be opened. Damage is no reason: see [`crate::log::Recovery`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk does not let the log be read or mended.
    #[error("{what} failed: {error}; check the disk and the permissions of the log's directory")]
    Disk {
        /// What was tried, with the file's name.
        what: String,
        /// What the disk says.
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn disk(what: &str, error: io::Error) -> Self {
        Self::Disk { what: what.to_owned(), error }
    }
}
