//! Walks a segment: valid entries, corrupt stretches, and how it ends.
//!
//! Corruption is a value here. A stretch that cannot be read is *corrupt* when a whole entry of the same segment
//! follows it, for then it was once written whole; it is a *torn tail* when none does.

use crate::ids::Position;
use crate::segment::{ENTRY_ALIGN, ENTRY_HEAD_LEN, Entry, EntryHead, SEGMENT_HEADER_LEN, STOP_LEN, Seed};

/// What the scan came upon.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "without alloc there is nowhere to box the entry")]
pub enum Step<'a> {
    /// A whole entry at this position.
    Entry(Position, Entry<'a>),
    /// Nothing of this stretch can be read, and whole entries follow it.
    Corrupt {
        /// Position of the first byte.
        from: Position,
        /// Where the next whole entry begins.
        to: Position,
    },
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a stop, or with the end of the file: nothing was being written.
    Clean {
        /// Where the next entry goes.
        end: Position,
    },
    /// With something that is neither an entry nor a stop.
    Torn {
        /// Where it begins, and where the next entry would go.
        end: Position,
        /// What its head claims, when that is whole.
        claim: Option<EntryHead>,
    },
}

impl Tail {
    /// Where the valid part ends.
    pub const fn end(&self) -> Position {
        match self {
            Self::Clean { end } | Self::Torn { end, .. } => *end,
        }
    }
}

/// A walk over the bytes of one segment file.
#[derive(Debug)]
pub struct Scan<'a> {
    segment: &'a [u8],
    seed: Seed,
    at: usize,
    /// The entry that a search has found and that is to be given next.
    found: Option<usize>,
    tail: Option<Tail>,
}

impl<'a> Scan<'a> {
    /// Over a whole segment file, header included.
    pub const fn new(segment: &'a [u8], seed: Seed) -> Self {
        Self { segment, seed, at: SEGMENT_HEADER_LEN, found: None, tail: None }
    }

    /// As [`Scan::new`], from a position on, up to which there are whole entries.
    pub const fn starting_at(segment: &'a [u8], seed: Seed, position: Position) -> Self {
        Self { segment, seed, at: position.get() as usize, found: None, tail: None }
    }

    /// The next entry or corrupt stretch; `None` at the end; then [`Scan::tail`] returns how it ends.
    pub fn step(&mut self) -> Option<Step<'a>> {
        if self.tail.is_some() {
            return None;
        }
        let from = Position::new(self.at as u64);
        let rest = self.segment.get(self.at..).unwrap_or_default();
        if let Ok(entry) = Entry::parse(rest, self.seed) {
            self.at += entry.head.entry_len();
            return Some(Step::Entry(from, entry));
        }
        if is_stop(rest) && self.find(self.at + STOP_LEN).is_none() {
            self.tail = Some(Tail::Clean { end: from });
            return None;
        }
        match self.find(self.at + ENTRY_ALIGN) {
            Some(at) => {
                self.at = at;
                Some(Step::Corrupt { from, to: Position::new(at as u64) })
            }
            None => {
                self.tail = Some(Tail::Torn { end: from, claim: EntryHead::decode(rest, self.seed) });
                None
            }
        }
    }

    /// How the segment ends.
    ///
    /// # Panics
    /// Before [`Scan::step`] has given `None`.
    pub fn tail(&self) -> Tail {
        self.tail.expect("the scan was not walked to its end")
    }

    /// The first whole entry at or after `from`.
    fn find(&mut self, from: usize) -> Option<usize> {
        let known = self.found.filter(|at| *at >= from);
        let found = known.or_else(|| {
            let last = self.segment.len().checked_sub(ENTRY_HEAD_LEN)?;
            (from..=last)
                .step_by(ENTRY_ALIGN)
                .filter(|at| EntryHead::decode(&self.segment[*at..], self.seed).is_some())
                .find(|at| Entry::parse(&self.segment[*at..], self.seed).is_ok())
        });
        self.found = found;
        found
    }
}

/// Whether this is a stop: only zeros, and at the end of the file perhaps fewer of them.
fn is_stop(rest: &[u8]) -> bool {
    rest.iter().take(STOP_LEN).all(|byte| *byte == 0)
}
