//! Maintenance of a log beside its writer: builds indexes, trims the log's beginning, and empties old segments of their
//! samples. Each task has a thread of its own, and the writer never waits for it.

use afferent_protocol::ids::{Offset, Timestamp};

use crate::turns::Commits;

/// Builds indexes.
pub trait Indexing: Send {
    /// Lets these commits go first from now on.
    fn yield_to(&mut self, commits: Commits);
    /// Removes leftover files; returns how many.
    fn tidy(&mut self) -> usize;
    /// Builds the missing index of the next segment. Blocks for as long as one is read.
    fn step(&mut self) -> Indexed;
}

/// Trims the log's beginning.
pub trait Trimming: Send {
    /// The size of the log on its disk.
    ///
    /// # Errors
    /// When the engine cannot read it.
    fn usage(&self) -> Result<Usage, UpkeepError>;
    /// Removes all segments that end at or before an offset, oldest first. The log records the removal before the call.
    ///
    /// # Errors
    /// When the engine refuses: the next call removes the rest.
    fn remove_before(&self, until: Offset) -> Result<Trimmed, UpkeepError>;
}

/// Empties segments of their samples.
pub trait Emptying: Send {
    /// Empties the oldest segment that has samples and ends at or before `until`; `None` when there is none. The log
    /// records the removal before the call.
    ///
    /// # Errors
    /// When a segment keeps its samples.
    fn step(&mut self, until: Offset) -> Result<Option<Forgotten>, EmptyError>;
}

/// The three tasks of one log.
pub struct Upkeep {
    /// Builds indexes.
    pub indexing: Box<dyn Indexing>,
    /// Trims the log's beginning.
    pub trimming: Box<dyn Trimming>,
    /// Empties segments of their samples.
    pub emptying: Box<dyn Emptying>,
}

/// The engine refuses, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UpkeepError(pub String);

/// Why a segment keeps its samples, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmptyError {
    /// It keeps them for good; call it again for the segments behind it.
    #[error("{0}")]
    Stays(String),
    /// The engine refuses; it may work later.
    #[error("{0}")]
    Refused(String),
}

/// The result of one step.
#[derive(Debug)]
pub enum Indexed {
    /// Nothing: every finished segment that can have an index has one.
    UpToDate,
    /// A segment that got its index.
    Made {
        /// The segment's name.
        segment: String,
        /// The number of segments still without an index.
        left: usize,
    },
    /// A segment has none on disk; readers have it in memory unless the segment is damaged.
    Failed(UpkeepError),
}

/// A segment that does not grow any more, as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedSegment {
    /// Its exclusive end: where the log would begin without it and all before it.
    pub end: Offset,
    /// Bytes of its file and of the files beside it.
    pub bytes: u64,
    /// When the newest batch in it was appended.
    pub newest: Timestamp,
}

/// The size of the log on its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all files of the log.
    pub bytes: u64,
    /// The segments, oldest first, without the newest one.
    pub segments: Vec<FinishedSegment>,
}

/// The result of trimming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Number of removed segments.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// The result of emptying one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The segment's name.
    pub segment: String,
    /// Number of removed events.
    pub events: u64,
    /// Bytes by which its file got shorter.
    pub bytes: u64,
}
