//! An engine's findings about its log: when it is opened, and while it is open.

use afferent_protocol::ids::{Offset, SequenceRange, SourceId};
use afferent_protocol::session::Lane;

/// Offsets that the log once had and cannot read any more: `first` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostOffsets {
    /// The first offset that is missing.
    pub first: Offset,
    /// The first readable offset behind it.
    pub end: Offset,
}

/// What a start found, and how it repaired it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether there was no log before.
    pub is_new: bool,
    /// The first offset after the last readable batch: where the log continues.
    pub end: Offset,
    /// Number of readable batches in it.
    pub batches: u64,
    /// An unfinished write at the end was dropped; none of it had been acked.
    pub torn: bool,
    /// Offsets that were durable once and are lost, in order. What is left of them stays as it is.
    pub holes: Vec<LostOffsets>,
}

/// Sequences of a lane that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostSequences {
    /// Their source.
    pub source: SourceId,
    /// The lane.
    pub lane: Lane,
    /// The sequences.
    pub range: SequenceRange,
}

/// Offsets of the log that cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDamage {
    /// Where they are stored, as the engine names it: the embedded one names a file.
    pub place: String,
    /// The first offset that cannot be read.
    pub first: Offset,
    /// The first readable one behind it.
    pub end: Offset,
    /// The lost sequences, as far as the engine can tell.
    pub missing: Vec<LostSequences>,
}
