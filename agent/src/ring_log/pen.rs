//! What writes to the ring log, and where.

use afferent_protocol::ids::Stream;
use afferent_protocol::segment::Seed;

/// What writes: each stream has a pen for its events, and a third one copies (see `reseal`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pen {
    /// The events of a stream, in the lane that the stream is written to.
    Of(Stream),
    /// The pen for batches that are sealed again.
    Copy,
}

impl Pen {
    /// All of them, by their index.
    pub const COUNT: usize = 3;

    /// Index of the segment in the pool.
    pub fn index(self) -> usize {
        match self {
            Self::Of(stream) => usize::from(stream.number()),
            Self::Copy => Self::COUNT - 1,
        }
    }
}

/// The segment that a pen writes to.
#[derive(Debug)]
pub(super) struct Active<F> {
    pub number: usize,
    pub file: F,
    pub seed: Seed,
    /// Where the next entry goes.
    pub position: u64,
}
