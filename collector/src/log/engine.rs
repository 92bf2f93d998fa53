//! The seam between the log's engines and admission: what every engine does, and how it fails.
//!
//! An engine's promises about commits:
//! - A commit that has succeeded is durable, and readers see it.
//! - An aborted one leaves nothing, and its offsets are used again: the next append begins at the durable end.
//! - One with an unknown outcome is found either whole or not at all. Only reopening the log shows which: until then
//!   the log takes nothing; it is dropped together with its core, and a new core is built from what the opening finds.

use std::sync::Arc;

use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::session::signed::LogId;
use afferent_protocol::sign::Identity;

use super::address::Partition;
use super::history::Rebuild;
use super::read_log::ReadLog;
use super::report::{LogDamage, Recovery};
use super::upkeep::Upkeep;
use crate::terms::Terms;

/// The store of one partition of the log.
pub trait Engine {
    /// The half of the log that admission sees.
    type Log: UnifiedLog + Send + 'static;

    /// Its partition.
    fn partition(&self) -> Partition;

    /// Opens the log, repairs its end after a crash, and passes its content to `rebuild`, in order. Writers that were
    /// opened before, here or elsewhere, can write nothing any more.
    ///
    /// # Errors
    /// When the log cannot be read or repaired. Damage is no reason: see [`Recovery`].
    fn open(self, opening: Opening<'_>, rebuild: &mut dyn Rebuild) -> Result<OpenedLog<Self::Log>, EngineError>;
}

/// Who opens a log, and when.
pub struct Opening<'o> {
    /// The collector's name.
    pub own: SourceId,
    /// Its key pair.
    pub identity: &'o Identity,
    /// When it is opened.
    pub now: Timestamp,
    /// Random numbers for the id of a new log, and for the term.
    pub entropy: &'o mut dyn FnMut() -> u64,
}

/// An opened log, and what belongs to it.
pub struct OpenedLog<L> {
    /// The half that admission sees.
    pub log: L,
    /// The result of opening.
    pub recovery: Recovery,
    /// The half that readers see.
    pub reader: Arc<dyn ReadLog>,
    /// Its maintenance beside the writer.
    pub upkeep: Upkeep,
}

/// Why a log cannot be opened, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

/// The log as admission uses it, for every engine.
pub trait UnifiedLog {
    /// Takes a batch into the buffer of the next commit, and returns the offset of its first event. `clock_offset_us`
    /// is what must be added to the batch's clock to have the collector's, where that was measured.
    fn append_measured(&mut self, batch: &Batch<'_>, ingest: Timestamp, clock_offset_us: Option<i64>) -> Offset;
    /// Appends a batch whose clock was not measured.
    fn append(&mut self, batch: &Batch<'_>, ingest: Timestamp) -> Offset {
        self.append_measured(batch, ingest, None)
    }
    /// Makes everything appended durable, and returns the durable end.
    ///
    /// # Errors
    /// When nothing that was appended since the last commit counts, or when that is unknown.
    fn commit(&mut self) -> Result<Offset, CommitError>;
    /// The first offset that is not durable.
    fn durable_end(&self) -> Offset;
    /// Bytes that wait for the next commit.
    fn buffered_bytes(&self) -> usize;
    /// The log's id.
    fn log_id(&self) -> LogId;
    /// Its partition.
    fn partition(&self) -> Partition;
    /// The number of the term: drawn at random when the log was opened.
    fn term(&self) -> u64;
    /// Publishes the table of terms to readers; the newest is the present term.
    fn publish_terms(&mut self, terms: Terms);
    /// The damage that readers and the indexer have found since the last call.
    fn take_damage(&mut self) -> Vec<LogDamage>;
    /// Whether there is such damage.
    fn has_damage(&self) -> bool;
}

/// Why a commit failed. Its senders get no ack and send again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it counts; the next one may succeed.
    #[error("{reason}")]
    Aborted {
        /// The cause and the remedy, for people.
        reason: String,
    },
    /// All of it counts, or nothing: that shows once the log is reopened, and until then the log takes nothing.
    #[error("{reason}; reopening the log shows whether it is durable")]
    Unknown {
        /// The cause, for people.
        reason: String,
    },
}

impl CommitError {
    /// Whether the log must be reopened.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}
