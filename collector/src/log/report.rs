//! What an engine finds about its log: when it is opened, and while it is open.

use afferent_protocol::ids::{Offset, Position, SequenceRange, SourceId};
use afferent_protocol::session::Lane;

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

/// Sequences of a lane that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Whose.
    pub source: SourceId,
    /// The lane.
    pub lane: Lane,
    /// The sequences.
    pub range: SequenceRange,
}

/// Offsets of the log that cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDamage {
    /// What holds them, as the engine names it: of the embedded one a file.
    pub place: String,
    /// The first offset that cannot be read.
    pub first: Offset,
    /// The first one after it that can.
    pub end: Offset,
    /// What was there, as far as the rest of the segment and its index tell.
    pub missing: Vec<Missing>,
}
