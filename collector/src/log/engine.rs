//! The common face of the log's engines.

use std::io;

use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::LogId;

use super::LogDamage;
use crate::terms::Terms;

/// What admission needs of a log, whichever engine it is.
pub trait UnifiedLog {
    /// Takes a batch into the buffer of the next commit, and gives the offset of its first event. `clock_offset_us` is what
    /// has to be added to the batch's clock to have the collector's, where that was measured.
    fn append_measured(&mut self, batch: &Batch<'_>, ingest: Timestamp, clock_offset_us: Option<i64>) -> Offset;
    /// The same for a batch whose clock nobody has measured.
    fn append(&mut self, batch: &Batch<'_>, ingest: Timestamp) -> Offset {
        self.append_measured(batch, ingest, None)
    }
    /// Makes everything appended durable, and gives the durable end. After an error nothing that was appended since the
    /// last commit counts, and the next one goes to a new place.
    fn commit(&mut self) -> Result<Offset, CommitError>;
    /// The first offset that is not durable.
    fn durable_end(&self) -> Offset;
    /// Bytes that wait for the next commit.
    fn buffered_bytes(&self) -> usize;
    /// The log's id.
    fn log_id(&self) -> LogId;
    /// The number of the term: drawn at random when the log was opened.
    fn term(&self) -> u64;
    /// Shows readers the table of terms; its newest one is the term from now on.
    fn publish_terms(&mut self, terms: Terms);
    /// What readers and the indexer found damaged since the last time.
    fn take_damage(&mut self) -> Vec<LogDamage>;
    /// Whether there is any.
    fn has_damage(&self) -> bool;
}

/// Why a commit failed. Nothing of it counts; its senders are not acked and will send again.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A new segment could not be made: the disk is full, read-only or gone.
    #[error("no new segment {name} of {bytes} bytes can be made: {error}; free space on the log's disk")]
    Create {
        /// The file's name.
        name: String,
        /// The bytes that it needs.
        bytes: u64,
        /// What the disk says.
        error: io::Error,
    },
    /// A write failed.
    #[error("writing to {name} failed: {error}; the log goes on in a new segment")]
    Write {
        /// The file's name.
        name: String,
        /// What the disk says.
        error: io::Error,
    },
    /// A sync failed: what was written may or may not be on disk.
    #[error("making {name} durable failed: {error}; the log goes on in a new segment")]
    Sync {
        /// The file's name.
        name: String,
        /// What the disk says.
        error: io::Error,
    },
}
