//! The embedded engine: segment files in one directory.

use std::io;
use std::sync::Arc;

use afferent_protocol::batch::Batch;
use afferent_protocol::disk::Disk;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::segment::EntryHead;

use super::{CommitError, LogReader, Recovery, UnifiedLog};
use crate::limits::LOG_SEGMENT_BYTES;

/// How the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Bytes of one segment file; one batch that is larger gets a file of its own.
    pub segment_bytes: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { segment_bytes: LOG_SEGMENT_BYTES }
    }
}

/// Why the log cannot be opened. Damage is no reason: see [`Recovery`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk does not let the log be read or mended.
    #[error("the log's {what} failed: {error}; check the disk and the permissions of the log's directory")]
    Disk {
        /// What was tried, with the file's name.
        what: String,
        /// What the disk says.
        error: io::Error,
    },
}

/// The log in one directory. There is one of it at a time; readers are made by [`EmbeddedLog::reader`].
pub struct EmbeddedLog<D: Disk> {
    disk: Arc<D>,
}

impl<D: Disk> EmbeddedLog<D> {
    /// Reads and checks everything there is, calls `each` for every batch in order, and mends what a stop left behind.
    pub fn open(
        disk: D,
        settings: LogSettings,
        entropy: &mut dyn FnMut() -> u64,
        now: Timestamp,
        each: &mut dyn FnMut(&EntryHead, &Batch<'_>),
    ) -> Result<(Self, Recovery), OpenError> {
        let _ = (disk, settings, entropy, now, each);
        unimplemented!()
    }

    /// A reader of what is durable. It may live on another thread, and longer than the log.
    pub fn reader(&self) -> LogReader<D> {
        let _ = &self.disk;
        unimplemented!()
    }
}

impl<D: Disk> UnifiedLog for EmbeddedLog<D> {
    fn append(&mut self, _batch: &Batch<'_>, _ingest: Timestamp) -> Offset {
        unimplemented!()
    }
    fn commit(&mut self) -> Result<Offset, CommitError> {
        unimplemented!()
    }
    fn durable_end(&self) -> Offset {
        unimplemented!()
    }
    fn buffered_bytes(&self) -> usize {
        unimplemented!()
    }
}
