//! What keeps a log in shape beside its writer: indexes are made, its beginning is removed, samples are taken out of
//! what stays. Each lives on a thread of its own, and the writer never waits for it.

use afferent_protocol::ids::{Offset, Timestamp};

use crate::turns::Commits;

/// Makes indexes.
pub trait Indexing: Send {
    /// Gives way to these commits from now on.
    fn give_way(&mut self, commits: Commits);
    /// Removes what indexes have left behind; gives how many files.
    fn tidy(&mut self) -> usize;
    /// Makes what is missing of the next segment. Blocks for as long as one is read.
    fn step(&mut self) -> Indexed;
}

/// Removes the log's beginning.
pub trait Trimming: Send {
    /// What there is.
    ///
    /// # Errors
    /// When the engine cannot look.
    fn usage(&self) -> Result<Usage, UpkeepError>;
    /// Removes all segments that end at or before an offset, oldest first. That this was to be is in the log before
    /// it is called.
    ///
    /// # Errors
    /// When the engine refuses: what is left is removed by the next call.
    fn remove_before(&self, until: Offset) -> Result<Trimmed, UpkeepError>;
}

/// Takes samples out of segments that stay.
pub trait Emptying: Send {
    /// Takes the samples out of the oldest segment that has any and that ends at or before `until`; `None` when there
    /// is none. That this was to be is in the log before it is called.
    ///
    /// # Errors
    /// When a segment keeps its samples.
    fn step(&mut self, until: Offset) -> Result<Option<Forgotten>, EmptyError>;
}

/// All of this for one log.
pub struct Upkeep {
    /// Makes indexes.
    pub indexing: Box<dyn Indexing>,
    /// Removes the log's beginning.
    pub trimming: Box<dyn Trimming>,
    /// Takes samples out of segments that stay.
    pub emptying: Box<dyn Emptying>,
}

/// The engine refuses, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UpkeepError(pub String);

/// Why a segment keeps its samples, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmptyError {
    /// It keeps them for good; the segments behind it can be asked for.
    #[error("{0}")]
    Stays(String),
    /// The engine refuses, and may not another time.
    #[error("{0}")]
    Refused(String),
}

/// What one step has done.
#[derive(Debug)]
pub enum Indexed {
    /// Nothing: every finished segment that can have an index has one.
    UpToDate,
    /// A segment got its index.
    Made {
        /// The segment.
        segment: String,
        /// How many still have none.
        left: usize,
    },
    /// A segment has none on disk; readers have it in memory unless the segment is damaged.
    Failed(UpkeepError),
}

/// A segment that nothing is appended to any more, as retention looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The first offset after it: where the log would begin without it and all before it.
    pub end: Offset,
    /// Bytes of its file and of what lies beside it.
    pub bytes: u64,
    /// When the newest batch in it was appended.
    pub newest: Timestamp,
}

/// What the log takes on its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all files of the log.
    pub bytes: u64,
    /// The segments, oldest first, without the newest one.
    pub segments: Vec<Segment>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Segments.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// What a step has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The segment.
    pub segment: String,
    /// Events that were removed.
    pub events: u64,
    /// Bytes that its file is shorter.
    pub bytes: u64,
}
