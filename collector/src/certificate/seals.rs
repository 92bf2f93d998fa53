//! Which offsets are bound by seals.

use std::ops::Range;

use afferent_protocol::ids::Offset;
use afferent_protocol::sign::Stretch;

use crate::sources::{Found, Logged};

/// What the seals that were seen say about the batches that were seen.
#[derive(Debug, Default)]
pub(super) struct Seals {
    /// The first offset that was seen.
    begin: Option<Offset>,
    unsealed: Found,
    /// Bound offsets, in order, none touching another.
    bound: Vec<Range<Offset>>,
}

/// The batches of a stretch are not those that its seal was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Seals {
    /// Takes the next batch of the log.
    pub fn batch(&mut self, logged: Logged) {
        self.begin.get_or_insert(logged.first);
        self.unsealed.push(logged);
    }

    /// Takes a seal whose signature was checked.
    pub fn seal(&mut self, first: Offset, end: Offset, hash: [u8; 32]) -> Result<(), Broken> {
        let mut stretch = Stretch::default();
        for logged in self.unsealed.batches().filter(|logged| (first..end).contains(&logged.first)) {
            stretch.push(logged.first, &logged.chain);
        }
        self.unsealed.sealed(end);
        if self.begin.is_some_and(|begin| first < begin) {
            // Its beginning is not kept any more: nobody can tell.
            return Ok(());
        }
        if stretch.hash() != hash {
            return Err(Broken);
        }
        match self.bound.last_mut() {
            Some(last) if last.end == first => last.end = end,
            _ => self.bound.push(first..end),
        }
        Ok(())
    }

    /// Whether all of these offsets are bound together.
    pub fn binds(&self, offsets: &Range<Offset>) -> bool {
        self.bound.iter().any(|bound| bound.start <= offsets.start && offsets.end <= bound.end)
    }

    /// The end of the newest stretch that is bound.
    pub fn end(&self) -> Offset {
        self.bound.last().map_or(Offset::ZERO, |bound| bound.end)
    }
}
