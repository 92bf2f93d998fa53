//! What a start finds in the log's directory, and why it cannot be opened.

use std::io;

use afferent_protocol::ids::{Offset, Position};

/// Offsets that the log once had and cannot read any more: `first` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The first offset that is missing.
    pub first: Offset,
    /// The first offset that is there again.
    pub end: Offset,
}

/// Something in a file that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Where the stretch begins.
    pub from: Position,
    /// Where it ends.
    pub to: Position,
    /// What it is, for people.
    pub what: &'static str,
}

/// What a start found, and what it did about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether there was no log before.
    pub is_new: bool,
    /// The first offset after the last readable batch: where the log goes on.
    pub end: Offset,
    /// Batches in it, as far as they can be read.
    pub batches: u64,
    /// Segment files.
    pub segments: u64,
    /// An unfinished write at the end was dropped; nothing of it had been acked.
    pub torn: bool,
    /// Offsets that were durable once and are lost. The files that had them are left as they are.
    pub holes: Vec<Hole>,
    /// All damage, for people; at most as many as are worth reading.
    pub damage: Vec<Damage>,
}

/// Why the log cannot be opened. Damage is no reason: see [`Recovery`].
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
