//! The seam between the log's engines and those who fill the log: what every engine does, and how it fails.
//!
//! What an engine promises of its commits:
//! - A commit that has succeeded is durable, and readers see it.
//! - One that was aborted leaves nothing, and its offsets are given again: the next append begins at the durable end.
//! - Of one whose outcome is unknown either all or nothing will be found. Until the log is reopened nobody knows,
//!   so that the log takes nothing more: whoever fills it is thrown away with it, and made again from what the
//!   opening finds.

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

/// Where one partition of the log is kept.
pub trait Engine {
    /// The half of the log that admission sees.
    type Log: UnifiedLog + Send + 'static;

    /// Which partition it is.
    fn partition(&self) -> Partition;

    /// Opens the log, mends what a stop has left behind, and passes what it holds to `rebuild`, in order. What was
    /// opened before, here or elsewhere, writes nothing any more.
    ///
    /// # Errors
    /// When the log cannot be read or mended. Damage is no reason: see [`Recovery`].
    fn open(self, opening: Opening<'_>, rebuild: &mut dyn Rebuild) -> Result<OpenedLog<Self::Log>, EngineError>;
}

/// By whom a log is opened, and when.
pub struct Opening<'o> {
    /// The collector's name.
    pub own: SourceId,
    /// Its key pair.
    pub identity: &'o Identity,
    /// When it is opened.
    pub now: Timestamp,
    /// Names a new log, and the term.
    pub entropy: &'o mut dyn FnMut() -> u64,
}

/// A log that was opened, and what belongs to it.
pub struct OpenedLog<L> {
    /// The half that admission sees.
    pub log: L,
    /// What opening has found.
    pub recovery: Recovery,
    /// The half that readers see.
    pub reader: Arc<dyn ReadLog>,
    /// What keeps it in shape.
    pub upkeep: Upkeep,
}

/// Why a log cannot be opened, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

/// What admission needs of a log, whichever engine it is.
pub trait UnifiedLog {
    /// Takes a batch into the buffer of the next commit, and gives the offset of its first event. `clock_offset_us` is what
    /// has to be added to the batch's clock to have the collector's, where that was measured.
    fn append_measured(&mut self, batch: &Batch<'_>, ingest: Timestamp, clock_offset_us: Option<i64>) -> Offset;
    /// The same for a batch whose clock nobody has measured.
    fn append(&mut self, batch: &Batch<'_>, ingest: Timestamp) -> Offset {
        self.append_measured(batch, ingest, None)
    }
    /// Makes everything appended durable, and gives the durable end.
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
    /// Which partition of the log it is.
    fn partition(&self) -> Partition;
    /// The number of the term: drawn at random when the log was opened.
    fn term(&self) -> u64;
    /// Shows readers the table of terms; its newest one is the term from now on.
    fn publish_terms(&mut self, terms: Terms);
    /// What readers and the indexer found damaged since the last time.
    fn take_damage(&mut self) -> Vec<LogDamage>;
    /// Whether there is any.
    fn has_damage(&self) -> bool;
}

/// Why a commit failed. Its senders are not acked and will send again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it counts; the next one may succeed.
    #[error("{reason}")]
    Aborted {
        /// What failed, and what to do about it, for people.
        reason: String,
    },
    /// All of it counts, or nothing: that shows once the log is reopened, and until then the log takes nothing.
    #[error("{reason}; whether it is durable shows once the log is reopened")]
    Unknown {
        /// What happened, for people.
        reason: String,
    },
}

impl CommitError {
    /// Whether the log has to be reopened.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}
