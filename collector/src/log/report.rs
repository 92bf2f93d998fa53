//! An engine's findings about its log: when it is opened, and while it is open.

use afferent_protocol::ids::{Offset, Position, SequenceRange, SourceId};
use afferent_protocol::session::Lane;

/// Offsets that the log once had and cannot read any more: `first` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostOffsets {
    /// The first offset that is missing.
    pub first: Offset,
    /// The first readable offset behind it.
    pub end: Offset,
}

/// A damaged range in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Where the range begins.
    pub from: Position,
    /// Where it ends, exclusive.
    pub to: Position,
    /// The kind of damage, for people.
    pub what: &'static str,
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
    /// Number of segment files.
    pub segments: u64,
    /// An unfinished write at the end was dropped; none of it had been acked.
    pub torn: bool,
    /// Offsets that were durable once and are lost. The files that had them are left as they are.
    pub holes: Vec<LostOffsets>,
    /// All damage, for people; at most as many ranges as are worth reading.
    pub damage: Vec<Damage>,
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
    /// The lost sequences, as far as the rest of the segment and its index show them.
    pub missing: Vec<LostSequences>,
}
